"""One value of each type, made of its name: every field is set, so every field is in a golden file."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import inspect

_BY_PATTERN: Final = {
    r"\A[0-9]{1,20}\Z": "628123",
    r"\A[0-9a-f]{64}\Z": "0f" * 32,
    r"\A[ -~]{1,1000}\Z": "2@code,of,letters",
}
_BY_NAME: Final = {
    "phone": "628123",
    "link": "connected",
    "phase": "ready",
    "served_by": "store",
}
"""Words that stay, whatever words are added, and whether a version bounds them or not."""
_PLAIN: Final[dict[type, Any]] = {
    inspect.BytesType: b"\x89PNG\0",
    inspect.BoolType: True,
    inspect.FloatType: 1.5,
    inspect.AnyType: "anything",
}


def samples(kind: Any) -> list[Any]:
    """All forms of ``kind``: one value, and of a union one for each member but None."""
    return _samples(inspect.type_info(kind), "value")


def _samples(kind: inspect.Type, name: str) -> list[Any]:
    match kind:
        case inspect.Metadata():
            return _samples(kind.type, name)
        case inspect.UnionType():
            members = [it for it in kind.types if not isinstance(it, inspect.NoneType)]
            return [value for member in members for value in _samples(member, name)]
        case inspect.StructType():
            return list(_structs(kind))
        case _:
            return [_value(kind, name)]


def _structs(kind: inspect.StructType) -> Iterator[Any]:
    """One with the first form of each field; then one for each other form of a field."""
    forms = {field.name: _forms(field) for field in kind.fields}
    first = {name: values[0] for name, values in forms.items()}
    yield kind.cls(**first)
    for name, values in forms.items():
        for value in values[1:]:
            yield kind.cls(**first | {name: value})


def _forms(field: inspect.Field) -> list[Any]:
    if isinstance(field.type, inspect.BoolType):
        return [field.default is not True]
    return _samples(field.type, field.name)


def _value(kind: inspect.Type, name: str) -> Any:
    match kind:
        case inspect.StrType():
            return _text(kind, name)
        case inspect.IntType():
            return max(3, kind.ge or 0)
        case inspect.LiteralType():
            return _BY_NAME.get(name, kind.values[0])
        case inspect.EnumType():
            return kind.cls(_BY_NAME.get(name, next(iter(kind.cls))))
        case inspect.VarTupleType():
            return tuple(_samples(kind.item_type, name))
        case inspect.TupleType():
            return tuple(_samples(it, name)[0] for it in kind.item_types)
        case inspect.DictType():
            key = _samples(kind.key_type, name)[0]
            return {key: _samples(kind.value_type, name)[0]}
        case _:
            return _PLAIN[type(kind)]


def _text(kind: inspect.StrType, name: str) -> str:
    if name in _BY_NAME:
        return _BY_NAME[name]
    return _BY_PATTERN[kind.pattern] if kind.pattern else f"{name} hé👋"


def label(message: msgspec.Struct) -> str:
    """The name of a message: its tag, and that of the one it carries."""
    tags = [str(message.__struct_config__.tag)]
    for name in message.__struct_fields__:
        inner = getattr(message, name)
        if isinstance(inner, msgspec.Struct) and inner.__struct_config__.tag:
            tags.append(str(inner.__struct_config__.tag))
    return " ".join(tags)
