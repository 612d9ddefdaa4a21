"""Fields of a request, checked before they are used; each error names the field and the remedy."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from aiohttp import web

from waguard.errors import InvalidInputError

SESSION_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_CHAT_ID: Final = re.compile(
    r"[0-9]{5,15}@(c\.us|s\.whatsapp\.net)|[0-9]{5,20}@lid|[0-9]{5,25}(-[0-9]{5,15})?@g\.us"
)
_PHONE: Final = re.compile(r"[0-9]{5,15}")
# as the application has it; a dash alone makes no group, numbers are written with dashes too
_BARE_GROUP: Final = re.compile(r"(?=(?:-?[0-9]){16})[0-9]{5,25}(?:-[0-9]{5,15})?")
TEXT_LIMIT: Final = 65_536  # characters; WhatsApp's own limit
PRIORITY_LIMIT: Final = 1_000_000
PRIORITIES: Final = {"low": -10, "normal": 0, "high": 10}  # the old service's words
_SHOWN: Final = 60


def iso(moment: datetime | float) -> str:
    """ISO 8601 in UTC with a Z; a datetime without a zone is UTC, a number is unix time."""
    if not isinstance(moment, datetime):
        moment = datetime.fromtimestamp(moment, UTC)
    elif moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def bad(field: str, value: Any, message: str, remedy: str) -> InvalidInputError:
    """An error that shows the value, shortened."""
    shown = repr(value[:_SHOWN] if isinstance(value, str) else value)
    cut = len(shown) > _SHOWN or (isinstance(value, str) and len(value) > _SHOWN)
    words = f"{message} (got {shown[:_SHOWN]}{'…' if cut else ''})"
    return InvalidInputError(words, field=field, value=value, remedy=remedy)


def session_id(value: Any) -> str:
    """Before it touches a path or the database."""
    if isinstance(value, str) and SESSION_ID.fullmatch(value):
        return value
    raise bad("session_id", value, "invalid session id", "1 to 128 letters, digits, _ and -")


def path_session(request: web.Request) -> str:
    """The session id of the path."""
    return session_id(request.match_info["session_id"])


def workspace_id(value: Any) -> int:
    """An integer of at least 1, or its digits."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if re.fullmatch(r"[0-9]{1,18}", text) and int(text) >= 1:
        return int(text)
    raise bad("workspace_id", value, "invalid workspace id", "an integer of at least 1")


def optional_integer(
    body: dict[str, Any],
    field: str,
    *,
    least: int,
    most: int,
    words: Mapping[str, int] = MappingProxyType({}),
) -> int | None:
    """An integer, its digits, one of ``words``, or nothing."""
    value = body.get(field)
    if value is None or value == "":
        return None
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if text in words:
        return words[text]
    if re.fullmatch(r"-?[0-9]{1,18}", text) and least <= int(text) <= most:
        return int(text)
    allowed = ", ".join([*words, f"an integer from {least} to {most}"])
    raise bad(field, value, f"invalid {field}", f"{allowed}, or leave it out")


def phone(value: Any, field: str) -> str:
    """Digits of a phone number in international form."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    digits = re.sub(r"[\s().-]", "", value).removeprefix("+") if isinstance(value, str) else ""
    if _PHONE.fullmatch(digits):
        return digits
    raise bad(
        field,
        value,
        "invalid phone number",
        "5 to 15 digits with the country code, e.g. +6281234567890",
    )


def chat(body: dict[str, Any]) -> str:
    """The chat id of ``recipient_phone``."""
    return chat_id(body.get("recipient_phone"), "recipient_phone")


def chat_id(value: Any, field: str) -> str:
    """The chat id of a number, of a chat id as WhatsApp writes it, or of a group's id without its
    server: 16 and more digits, one more than a number may have."""
    if isinstance(value, int | str) and _BARE_GROUP.fullmatch(str(value)):
        return f"{value}@g.us"
    if isinstance(value, str) and "@" in value:
        if not _CHAT_ID.fullmatch(value):
            raise bad(field, value, "invalid chat id", "<digits>@c.us, <id>@g.us or <id>@lid")
        return value.replace("@s.whatsapp.net", "@c.us")  # as WhatsApp's page calls it
    return f"{phone(value, field)}@c.us"


def text(body: dict[str, Any], field: str) -> str:
    """A text that is not empty."""
    return text_of(body.get(field), field)


def text_of(value: Any, field: str) -> str:
    """As ``text``, for a value that ``field`` holds."""
    if not isinstance(value, str) or not value.strip():
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


def optional_text(body: dict[str, Any], field: str, *, most: int) -> str | None:
    """A text, or nothing."""
    value = body.get(field)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > most:
        raise bad(
            field,
            value,
            f"invalid {field}",
            f"a text of at most {most} characters, or leave it out",
        )
    return value


def flag(request: web.Request, name: str) -> bool:
    """Whether the query asks for it; no when it is not there."""
    given = request.query.get(name, "0")
    if given not in {"0", "1"}:
        raise bad(name, given, f"invalid {name}", "1 or 0")
    return given == "1"


def moment(request: web.Request, name: str) -> float:
    """Unix time of an ISO time of the query, UTC where it names no zone; 0 when it is not there."""
    given = request.query.get(name)
    if given is None:
        return 0.0
    try:
        at = datetime.fromisoformat(given)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise bad(
            name, given, f"invalid {name}", "an ISO time such as 2026-11-25T09:00:00Z"
        ) from None


def seconds(request: web.Request, name: str, *, most: float) -> float:
    """A duration of the query; 0 when it is not there. A longer one than ``most`` is cut to it."""
    given = request.query.get(name, "0")
    if re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", given):
        return min(float(given), most)
    raise bad(name, given, f"invalid {name}", f"seconds; more than {most:g} wait no longer")
