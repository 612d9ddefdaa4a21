"""What the page reports, read into the wire's words. Nothing of it is trusted: a message's sender chooses
most of it, and another version of WhatsApp Web the rest.

Whatever comes in, nothing raises and all that comes out can be encoded. Numbers are whole and within
what the wire and its readers hold, texts well-formed and bounded. What is optional and odd is left out;
what has no identity, or no text where there must be one, becomes a ``MessageError``.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any, Final

from waguard.core.messages.people import LID, NUMBER
from waguard.core.messages.undecryptable import CIPHERTEXT, ONLY_ON_PHONE
from waguard.core.passkey_link import PasskeyEvent, PasskeyStep
from waguard.wire.events import (
    Ack,
    Edit,
    InboundMessage,
    Incoming,
    IncomingCall,
    MessageError,
    Reaction,
    Revoke,
    Undecryptable,
)
from waguard.worker.page.message_content import read_content
from waguard.worker.page.values import LARGEST, moment, whole, word

# characters. Ids are identities and never cut; the store's column for a chat has 128
ID_LIMIT: Final = 256
CHAT_LIMIT: Final = 128
TEXT_LIMIT: Final = 65_536  # WhatsApp's own for a message
NAME_LIMIT: Final = 256
FILENAME_LIMIT: Final = 1_024
REACTION_LIMIT: Final = 64
RAW_LIMIT: Final = 8_192
ERROR_LIMIT: Final = 500
IDS_AT_ONCE: Final = 500  # in one ack
MENTIONED_LIMIT: Final = 1_024
PARTICIPANTS_LIMIT: Final = 1_024

ACKS: Final = range(-1, 5)
ACK_EXPIRED: Final = -2
CUT: Final = f" … [cut at {TEXT_LIMIT} characters]"


class _OddError(Exception):
    """What was reported cannot be what it says to be; the text names the field, and no content."""


def ack(value: object) -> int | None:
    """WhatsApp's ack, -1 to 4; None for anything else."""
    found = whole(value)
    if found == ACK_EXPIRED:
        return -1
    return found if found in ACKS else None


def read(kind: str, reported: Any, *, now: float) -> tuple[Incoming, ...]:
    """What the page's hook reported as this kind; what has no time is of ``now`` (unix time)."""
    try:
        if not isinstance(reported, dict):
            raise _OddError(f"it is not an object but {type(reported).__name__}")  # noqa: TRY301 - one way out
        if (error := word(reported.get("error"), ERROR_LIMIT)) is not None:
            raise _OddError(error)  # noqa: TRY301 - the page could not read it
        return _READERS[kind](reported, now)
    except _OddError as error:
        return (_error(kind, reported, str(error)),)


def people(reported: Any) -> list[tuple[str, str]]:
    """LIDs and whose they are, as far as the page said nothing odd."""
    pairs = reported.get("pairs") if isinstance(reported, dict) else None
    found = [_pair(one) for one in pairs] if isinstance(pairs, list) else []
    return [pair for pair in found if pair is not None]


def asked(reported: Any) -> tuple[tuple[str, bool], ...]:
    """A number, and whether WhatsApp knows it; (): the page said nothing of that, or odd things."""
    match reported:
        case {"asked": {"number": str(number), "exists": bool(exists)}} if number.endswith(NUMBER):
            return ((number, exists),) if len(number) <= CHAT_LIMIT else ()
        case _:
            return ()


def passkey_step(reported: Any) -> PasskeyStep | None:
    """A step of a linking that needs the account's passkey; None: it is none."""
    reported = reported if isinstance(reported, dict) else {}
    if (event := reported.get("event")) not in _PASSKEY_EVENTS:
        return None
    return PasskeyStep(
        event=PasskeyEvent(event),
        request=word(reported.get("request")),
        code=word(reported.get("code")),
        unattended=reported.get("unattended") is True,
        error=word(reported.get("error")),
    )


def _pair(reported: Any) -> tuple[str, str] | None:
    given = reported if isinstance(reported, list) else []
    wids = [wid for one in given if (wid := _optional_identity(one, CHAT_LIMIT))]
    match wids:
        case [lid, number] if lid.endswith(LID) and number.endswith(NUMBER):
            return lid, number
        case _:
            return None


def _error(kind: str, reported: Any, error: str) -> MessageError:
    fields = reported if isinstance(reported, dict) else {}
    raw = word(fields.get("raw"), RAW_LIMIT)
    if raw is None:
        try:
            raw = json.dumps(reported)[:RAW_LIMIT]  # of ASCII
        except (ValueError, RecursionError):
            raw = ""
    return MessageError(
        what=kind,
        id=_optional_identity(fields.get("id"), ID_LIMIT),
        chat=_optional_identity(fields.get("chat"), CHAT_LIMIT) or "",
        error=error,
        raw=raw,
        digest=hashlib.sha256(raw.encode()).hexdigest()[:32],
    )


def _optional_identity(value: object, limit: int) -> str | None:
    return word(value, limit) if isinstance(value, str) and 0 < len(value) <= limit else None


def _identity(reported: dict[str, Any], name: str, limit: int = ID_LIMIT) -> str:
    found = _optional_identity(reported.get(name), limit)
    if found is None:
        raise _OddError(f"{name} is not a text of 1 to {limit} characters")
    return found


def _identities(value: object, limit: int) -> tuple[str, ...]:
    some = value[:limit] if isinstance(value, list) else []
    return tuple(found for one in some if (found := _optional_identity(one, CHAT_LIMIT)))


def _text(reported: dict[str, Any], name: str) -> str:
    value = reported.get(name)
    if not isinstance(value, str):
        raise _OddError(f"{name} is not text")
    kept = value[:TEXT_LIMIT].encode(errors="replace").decode()
    return kept if len(value) <= TEXT_LIMIT else kept + CUT


def _size(value: object) -> int | None:
    found = whole(value)
    return None if found is None or found < 0 else min(found, LARGEST)


def _message(reported: dict[str, Any], now: float) -> tuple[Incoming, ...]:
    chat = _identity(reported, "chat", CHAT_LIMIT)
    if reported.get("kind") == CIPHERTEXT:
        return (_undecryptable(reported, now),)
    has_caption = isinstance(reported.get("caption"), str)
    return (
        InboundMessage(
            id=_identity(reported, "id"),
            chat=chat,
            sender=_optional_identity(reported.get("sender"), CHAT_LIMIT) or chat,
            to=_optional_identity(reported.get("to"), CHAT_LIMIT) or "",
            body=_text(reported, "body"),
            timestamp=moment(reported.get("timestamp")) or int(now),
            from_me=reported.get("from_me") is True,
            kind=word(reported.get("kind")) or "unknown",
            sender_name=word(reported.get("sender_name"), NAME_LIMIT),
            group_name=word(reported.get("group_name"), NAME_LIMIT),
            participants=_identities(reported.get("participants"), PARTICIPANTS_LIMIT),
            caption=_text(reported, "caption") if has_caption else None,
            mimetype=word(reported.get("mimetype")),
            filename=word(reported.get("filename"), FILENAME_LIMIT),
            size=_size(reported.get("size")),
            quoted_id=_optional_identity(reported.get("quoted_id"), ID_LIMIT),
            mentioned=_identities(reported.get("mentioned"), MENTIONED_LIMIT),
            content=read_content(reported.get("content")),
        ),
    )


def _undecryptable(reported: dict[str, Any], now: float) -> Undecryptable:
    if (subtype := word(reported.get("subtype"))) in ONLY_ON_PHONE:
        raise _OddError(f"WhatsApp shows this message on the phone only ({subtype})")
    return Undecryptable(**_common(reported, now))


def _acks(reported: dict[str, Any], now: float) -> tuple[Incoming, ...]:
    del now
    level, ids = ack(reported.get("ack")), reported.get("ids")
    if level is None:
        raise _OddError("ack is not a number from -1 to 4")
    if not isinstance(ids, list):
        raise _OddError("ids is not a list")
    found = [one for given in ids if (one := _optional_identity(given, ID_LIMIT))]
    if not found:
        raise _OddError("ids has no text of 1 to 256 characters")
    chat = _optional_identity(reported.get("chat"), CHAT_LIMIT) or ""
    starts = range(0, len(found), IDS_AT_ONCE)
    return tuple(
        Ack(ids=tuple(found[start : start + IDS_AT_ONCE]), chat=chat, ack=level) for start in starts
    )


def _common(reported: dict[str, Any], now: float) -> dict[str, Any]:
    chat = _identity(reported, "chat", CHAT_LIMIT)
    return {
        "id": _identity(reported, "id"),
        "chat": chat,
        "sender": _optional_identity(reported.get("sender"), CHAT_LIMIT) or chat,
        "timestamp": moment(reported.get("timestamp")) or int(now),
    }


def _edit(reported: dict[str, Any], now: float) -> tuple[Incoming, ...]:
    message_id, body = _identity(reported, "message_id"), _text(reported, "body")
    mentioned = _identities(reported.get("mentioned"), MENTIONED_LIMIT)
    return (Edit(message_id=message_id, body=body, mentioned=mentioned, **_common(reported, now)),)


def _revoke(reported: dict[str, Any], now: float) -> tuple[Incoming, ...]:
    return (Revoke(message_id=_identity(reported, "message_id"), **_common(reported, now)),)


def _reaction(reported: dict[str, Any], now: float) -> tuple[Incoming, ...]:
    text = word(reported.get("text"), REACTION_LIMIT)
    if text is None:  # an empty one takes a reaction back
        raise _OddError("text is not text")
    message_id = _identity(reported, "message_id")
    return (Reaction(message_id=message_id, text=text, **_common(reported, now)),)


def _call(reported: dict[str, Any], now: float) -> tuple[Incoming, ...]:
    video, group = reported.get("video") is True, reported.get("group") is True
    return (IncomingCall(video=video, group=group, **_common(reported, now)),)


_PASSKEY_EVENTS: Final = frozenset(map(str, PasskeyEvent))
_READERS: Final[dict[str, Callable[[dict[str, Any], float], tuple[Incoming, ...]]]] = {
    "message": _message,
    "ack": _acks,
    "edit": _edit,
    "revoke": _revoke,
    "reaction": _reaction,
    "call": _call,
}
KINDS: Final = frozenset(_READERS)
