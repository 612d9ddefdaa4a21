"""Kinds of fields: how each is read, as leniently as its clients write it, and what its schema says.

One place for both, so that they cannot differ. Each error names the field and the remedy.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Any, Final, NamedTuple

from msgspec import Meta

from waguard.errors import InvalidInputError

SESSION_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_CHAT_ID: Final = re.compile(
    r"[0-9]{5,15}@(c\.us|s\.whatsapp\.net)|[0-9]{5,20}@lid|[0-9]{5,25}(-[0-9]{5,15})?@g\.us"
)
_PHONE: Final = re.compile(r"[0-9]{5,15}")
# as the application has it; a dash alone makes no group, numbers are written with dashes too
_BARE_GROUP: Final = re.compile(r"(?=(?:-?[0-9]){16})[0-9]{5,25}(?:-[0-9]{5,15})?")
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_SECONDS: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,20})?(e-[0-9]{1,3})?")
_LARGEST: Final = 10**18 - 1
TEXT_LIMIT: Final = 65_536  # characters; WhatsApp's own limit
ID_LIMIT: Final = 2**63 - 1
PRIORITY_LIMIT: Final = 1_000_000
PRIORITIES: Final = {"low": -10, "normal": 0, "high": 10}  # the old service's words
_YES: Final = frozenset({"1", "1.0", "true"})
_NO: Final = frozenset({"", "0", "0.0", "false"})
_SHOWN: Final = 60


class Kind(NamedTuple):
    """What an annotation says of a field beside its type and its schema."""

    read: Callable[[Any, str], Any]
    """The value as handlers get it, of what was sent and the field's name. Raises ``InvalidInputError``."""
    blank: bool = False
    """Whether "" is nothing, where the field may be missing."""


def iso(at: datetime | float) -> str:
    """ISO 8601 in UTC with a Z; a datetime without a zone is UTC, a number is unix time."""
    if not isinstance(at, datetime):
        at = datetime.fromtimestamp(at, UTC)
    elif at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def moment(at: datetime | None) -> str | None:
    """As ``iso``; None: nothing."""
    return None if at is None else iso(at)


def second(at: float | None) -> str | None:
    """As ``iso``, to the second; None: nothing."""
    return None if at is None else iso(round(at))


def bad(field: str, value: Any, message: str, remedy: str) -> InvalidInputError:
    """An error that shows the value, shortened."""
    shown = repr(value[:_SHOWN] if isinstance(value, str) else value)
    cut = len(shown) > _SHOWN or (isinstance(value, str) and len(value) > _SHOWN)
    words = f"{message} (got {shown[:_SHOWN]}{'…' if cut else ''})"
    return InvalidInputError(words, field=field, value=value, remedy=remedy)


# ---- readers ----


def session_id(value: Any, _: str = "session_id") -> str:
    """Before it touches a path or the database."""
    if isinstance(value, str) and SESSION_ID.fullmatch(value):
        return value
    raise bad("session_id", value, "invalid session id", "1 to 128 letters, digits, _ and -")


def _plain(value: Any) -> str:
    """A text, or the digits of a whole number (to JSON 1.0 is one, too); "": it is neither."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""


def workspace_id(value: Any, _: str = "workspace_id") -> int:
    """An integer of at least 1, or its digits."""
    text = _plain(value)
    if _NUMBER.fullmatch(text) and int(text) >= 1:
        return int(text)
    raise bad("workspace_id", value, "invalid workspace id", "an integer of at least 1")


def integer(
    least: int, most: int, words: Mapping[str, int] = MappingProxyType({})
) -> Callable[[Any, str], int]:
    """Reads an integer, its digits, or one of ``words``."""

    def read(value: Any, field: str) -> int:
        text = _plain(value)
        if text in words:
            return words[text]
        if re.fullmatch(r"-?[0-9]{1,18}", text) and least <= int(text) <= most:
            return int(text)
        allowed = ", ".join([*words, f"an integer from {least} to {most}"])
        raise bad(field, value, f"invalid {field}", f"{allowed}, or leave it out")

    return read


def number(value: str, field: str) -> int:
    """An integer of a path or a query."""
    if _NUMBER.fullmatch(value):
        return int(value)
    raise InvalidInputError("not a number", field=field, value=value, remedy="an integer")


def phone(value: Any, field: str) -> str:
    """Digits of a phone number in international form."""
    digits = re.sub(r"[\s().-]", "", _plain(value)).removeprefix("+")
    if _PHONE.fullmatch(digits):
        return digits
    raise bad(
        field,
        value,
        "invalid phone number",
        "5 to 15 digits with the country code, e.g. +6281234567890",
    )


def chat_id(value: Any, field: str) -> str:
    """The chat id of a number, of a chat id as WhatsApp writes it, or of a group's id without its
    server: 16 and more digits, one more than a number may have."""
    if _BARE_GROUP.fullmatch(plain := _plain(value)):
        return f"{plain}@g.us"
    if isinstance(value, str) and "@" in value:
        if not _CHAT_ID.fullmatch(value):
            raise bad(field, value, "invalid chat id", "<digits>@c.us, <id>@g.us or <id>@lid")
        return value.replace("@s.whatsapp.net", "@c.us")  # as WhatsApp's page calls it
    return f"{phone(value, field)}@c.us"


def text(value: Any, field: str) -> str:
    """A text that is not empty."""
    if value is not None and not isinstance(value, str):
        raise bad(field, value, f"{field} is not a text", "send a text")
    if not value or not value.strip():
        raise bad(field, value, f"{field} is missing or empty", "send a text")
    if len(value) > TEXT_LIMIT:
        raise bad(field, value, f"{field} has {len(value)} characters", f"at most {TEXT_LIMIT}")
    return value


def mapping(value: Any, field: str) -> dict[str, Any]:
    """A JSON object; PHP writes an empty one as []."""
    if value == []:
        return {}
    if not isinstance(value, dict):
        raise bad(field, value, f"{field} is not an object", "send a JSON object")
    return value


def short(most: int) -> Kind:
    """A text of at most so many characters; "" is nothing."""

    def read(value: Any, field: str) -> str:
        if not isinstance(value, str) or len(value) > most:
            allowed = f"a text of at most {most} characters, or leave it out"
            raise bad(field, value, f"invalid {field}", allowed)
        return value

    return Kind(read, blank=True)


def boolean(value: Any, field: str) -> bool:
    """true or false."""
    if isinstance(value, bool):
        return value
    raise bad(field, value, f"invalid {field}", "true or false")


def _flag(value: Any, field: str) -> bool:
    text = str(value).lower()
    if value is None or text in _NO:
        return False
    if text in _YES:
        return True
    raise bad(field, value, f"invalid {field}", "true or false")


def _switch(value: str, field: str) -> bool:
    if value not in {"0", "1"}:
        raise bad(field, value, f"invalid {field}", "1 or 0")
    return value == "1"


def _moment(value: str, field: str) -> float:
    try:
        at = datetime.fromisoformat(value)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise bad(
            field, value, f"invalid {field}", "an ISO time such as 2026-11-25T09:00:00Z"
        ) from None


def seconds(most: float) -> Callable[[str, str], float]:
    """Reads a duration; a longer one than ``most`` is cut to it."""

    def read(value: str, field: str) -> float:
        if _SECONDS.fullmatch(value):
            return min(float(value), most)
        raise bad(field, value, f"invalid {field}", f"seconds; more than {most:g} wait no longer")

    return read


# ---- kinds ----

TYPES: Final = "x-types"
"""What a schema says of its type instead of what the annotation says: clients may write it otherwise."""
AS_IT_IS: Final = Kind(lambda value, _: value)
"""What counts only together with other fields."""


def digits(least: int, most: int, pattern: str) -> Meta:
    """The schema of an integer, or its digits."""
    shown = {TYPES: ["integer", "string"], "minimum": least, "maximum": most, "pattern": pattern}
    return Meta(extra_json_schema=shown)


SessionId = Annotated[
    str,
    Kind(session_id),
    Meta(pattern="^[A-Za-z0-9_-]{1,128}$", description="1 to 128 letters, digits, _ and -"),
]
WorkspaceId = Annotated[
    int,
    Kind(workspace_id),
    Meta(description="an integer of at least 1, or its digits"),
    digits(1, _LARGEST, "^(?=.{1,18}$)0*[1-9][0-9]*$"),
]
AccountId = Annotated[
    int, Kind(integer(0, ID_LIMIT), blank=True), digits(0, _LARGEST, "^([0-9]{1,18})?$")
]
Priority = Annotated[
    int,
    Kind(integer(-PRIORITY_LIMIT, PRIORITY_LIMIT, PRIORITIES), blank=True),
    Meta(description='an integer, "low", "normal" or "high"'),
    digits(-PRIORITY_LIMIT, PRIORITY_LIMIT, "^(low|normal|high|-?[0-9]{1,6})?$"),
]
_A_PHONE: Final = r"^[\s().-]*\+?([\s().-]*[0-9]){5,15}[\s().-]*$"
Number = Annotated[int, Kind(number), Meta(ge=0, le=_LARGEST)]
Phone = Annotated[
    str,
    Kind(phone),
    Meta(description="5 to 15 digits with the country code", examples=["+6281234567890"]),
    digits(10_000, 10**15 - 1, _A_PHONE),
]
ChatId = Annotated[
    str,
    Kind(chat_id),
    Meta(description="a phone number, a chat id or the id of a group", examples=["+6281234567890"]),
    digits(
        10_000, 10**25 - 1, f"{_A_PHONE}|^[0-9]{{5,25}}(-[0-9]{{5,15}})?$|^({_CHAT_ID.pattern})$"
    ),
]
Text = Annotated[
    str,
    Kind(text),
    Meta(pattern=r"\S", max_length=TEXT_LIMIT, description="a text", examples=["Hello"]),
]
Object = Annotated[
    dict[str, Any],
    Kind(mapping),
    Meta(extra_json_schema={TYPES: ["object", "array"], "items": {}, "maxItems": 0}),
]
Flag = Annotated[
    bool,
    Kind(_flag),
    Meta(
        extra_json_schema={
            TYPES: ["boolean", "string", "integer", "null"],
            "pattern": "^(true|false|1|0)?$",
            "minimum": 0,
            "maximum": 1,
        }
    ),
]
Boolean = Annotated[bool, Kind(boolean)]
Switch = Annotated[bool, Kind(_switch), Meta(extra_json_schema={TYPES: "integer", "enum": [0, 1]})]
Moment = Annotated[
    float,
    Kind(_moment),
    Meta(description="an ISO time, UTC where it names no zone"),
    Meta(extra_json_schema={TYPES: "string", "format": "date-time"}),
]
