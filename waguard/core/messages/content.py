"""What a message has beside its text: a place, a poll, contacts, what was chosen. Pure."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

CONTENT_LIMIT: Final = 65_536  # characters of JSON
LEVELS: Final = 20  # a worker makes 4; what is nested without an end could be put into no webhook
CONTENT: Final = "content"
"""The field of an event's message that holds it."""
POLL_VOTE: Final = "poll_update"
"""WhatsApp's word for a vote in a poll."""
_MARK: Final = b'"content":{'  # in a text the quotes would have backslashes
_SHOWN: Final = frozenset(
    {"chat", "album", "revoked", "image", "video", "audio", "ptt", "document", "sticker"}
)
_MAP: Final = "https://maps.google.com/?q={latitude},{longitude}"


def decoded(content: str | None) -> dict[str, Any]:
    """The content by what it is, as the worker read it; {}: there is none, or it is no JSON object, or one that is nested
    deeper than ``LEVELS``."""
    try:
        found = msgspec.json.decode(content or "{}", type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError):
        return {}
    return found if _has_levels(found, LEVELS) else {}


def _has_levels(value: Any, most: int) -> bool:
    """Whether lists and objects are nested in it so deep at most."""
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return most > 0 and all(_has_levels(it, most - 1) for it in inner)


def for_application(body: bytes) -> bytes:
    """The body of a webhook without its message's content."""
    if _MARK not in body:
        return body
    event = msgspec.json.decode(body)
    if isinstance(message := event["data"].get("message"), dict):
        message.pop(CONTENT, None)
    return msgspec.json.encode(event)


def text_of(kind: str, content: Mapping[str, Any]) -> str:
    """The text of a message that has none of its own, for who reads texts alone: never empty but where WhatsApp
    itself shows no text. ``kind`` is WhatsApp's word for its type."""
    if kind in _SHOWN:
        return ""
    it = content.get(kind)
    found = _lines(kind, it) if isinstance(it, Mapping) else []
    return "\n".join(str(line) for line in found if line) or f"[{kind}]"


def chosen(content: Mapping[str, Any]) -> list[str]:
    """The options that a vote in a poll names."""
    it = content.get(POLL_VOTE)
    return _texts(it.get("options")) if isinstance(it, Mapping) else []


def _texts(value: Any) -> list[str]:
    return [it for it in value if isinstance(it, str)] if isinstance(value, list) else []


def _lines(kind: str, it: Mapping[str, Any]) -> list[Any]:
    match kind:
        case "location":
            place = _MAP.format_map(it) if {"latitude", "longitude"} <= it.keys() else None
            return [it.get("comment"), it.get("name"), it.get("address"), place]
        case "vcard" | "multi_vcard":
            contacts = it.get("contacts")
            some = contacts if isinstance(contacts, list) else []
            return [one.get("name") for one in some if isinstance(one, Mapping)]
        case "poll_creation":
            return [it.get("question"), *_texts(it.get("options"))]
        case "poll_update":
            return _texts(it.get("options"))
        case _:
            names = ("text", "title", "name", "description", "url", "id")
            return [it.get(name) for name in names]
