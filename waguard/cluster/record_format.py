"""A host's record as JSON, which hosts of other versions read too.

Five fields are the same in every format, for the safety of sessions depends on them: ``format``, ``host``,
``incarnation``, ``number`` and ``alive``. All others a reader may lack. Fields that it does not know are kept, for a
host writes another one's record when it declares that one dead.
"""

import json
from typing import Any, Final

import msgspec

from waguard.core.cluster.records import FORMAT, HostRecord


class _Stable(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    host: str
    incarnation: str
    number: int
    alive: bool


# what stands for a field that is missing or of another type: such a host is asked for nothing
_DETAILS: Final[dict[str, Any]] = {
    "address": "",
    "version": "",
    "room": 0,
    "owned": 0,
    "drain": True,
    "lasts": 0.0,
    "start": "",
    "alerts": True,
    "conditions": [],
    "settings": {},
}
_KNOWN: Final = {*_Stable.__struct_fields__, *_DETAILS}


def encode(record: HostRecord) -> bytes:
    """The record as one JSON object, with what a newer format has in it."""
    known = {name: getattr(record, name) for name in HostRecord.__struct_fields__ if name != "more"}
    # ASCII alone: a column of the database may have any character set
    return json.dumps({**record.more, **known}, separators=(",", ":")).encode()


def decode(content: bytes | str, host: str) -> HostRecord:
    """The record of ``host``. What cannot be read is a living host of a newer format: nobody claims anything beside
    one, and it does not look as if there were no record."""
    try:
        written = msgspec.json.decode(content, type=dict[str, Any])
        stable = msgspec.convert(written, _Stable)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        written = {}
        stable = _Stable(format=FORMAT + 1, host=host, incarnation="", number=0, alive=True)
    details: dict[str, Any] = {
        name: value if type(value := written.get(name)) is type(default) else default
        for name, default in _DETAILS.items()
    }
    details["conditions"] = tuple(it for it in details["conditions"] if isinstance(it, str))
    details["settings"] = {
        name: value for name, value in details["settings"].items() if isinstance(value, str)
    }
    more = {name: value for name, value in written.items() if name not in _KNOWN}
    return HostRecord(**msgspec.structs.asdict(stable), **details, more=more)
