"""What people and the application write beside plain texts: its form, and what must come of it. Pure."""

import base64
import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as hidden
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from msgspec import Struct, field

INLINE_LIMIT: Final = 7_000_000  # bytes; what is larger comes after its message
SMALL, UPLOADED, LARGE = 2_000, 300_000, INLINE_LIMIT + 100_000  # bytes of a file
OPTIONS: Final = ("red", "green")
COMING: Final[Mapping[str, float]] = {
    "text": 55,
    "location": 4,
    "contact": 3,
    "contacts": 3,
    "button": 4,
    "list": 4,
    "order": 3,
    "poll": 6,
    "sticker": 4,
    "once": 4,
    "voice": 4,
    "picture": 5,
    "large": 0.5,
}
"""Kinds that people write, and how often."""
GOING: Final[Mapping[str, float]] = {
    "text": 50,
    "location": 8,
    "contact": 7,
    "poll": 8,
    "voice": 6,
    "sticker": 6,
    "once": 6,
    "upload": 8,
    "large": 0.5,
}
"""Kinds that the application sends, and how often."""
ACTING: Final[Mapping[tuple[str, ...], float]] = {
    ("reaction",): 3,
    ("reaction", "reaction"): 3,
    ("edit",): 2,
    ("edit", "edit"): 3,
    ("revoke",): 1,
    ("edit", "revoke"): 1,
}
"""What is done to one message, one behind the other, and how often."""
_CARD: Final = "BEGIN:VCARD\nVERSION:3.0\nFN:{}\nEND:VCARD"
_OPUS: Final = b"OggS" + bytes(24) + b"OpusHead"


class Coming(Struct, frozen=True, kw_only=True):
    """A message to a session."""

    kind: str
    text: str
    """What the application shows; a sticker and a voice note have none."""
    fields: Mapping[str, Any]
    """Those of the phone's ``incoming``."""
    content: Mapping[str, Any] = field(default_factory=dict)
    """``message.content``."""
    file: str = ""
    """SHA-256 of its file."""
    people: frozenset[str] = frozenset()
    """Ids of the participants of its group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Going:
    """A message from a session. ``path``: the last part of its route."""

    path: str
    fields: Mapping[str, Any]
    at_server: Mapping[str, Any]
    """What WhatsApp's server has of it, beside its text."""
    upload: bytes = hidden(default=b"", repr=False)
    """The file that goes first, and that the message names by its hash."""


class _File(NamedTuple):
    """A kind that is a file. ``type``: WhatsApp's word, where the mimetype does not say it."""

    mimetype: str
    type: str = ""
    attributes: Mapping[str, Any] = MappingProxyType({})
    content: Mapping[str, Any] = MappingProxyType({})
    size: int = SMALL
    is_captioned: bool = True


_FILES: Final[Mapping[str, _File]] = {
    "sticker": _File(
        "image/webp",
        "sticker",
        {"isAnimated": True},
        {"sticker": {"animated": True}},
        is_captioned=False,
    ),
    "voice": _File("audio/ogg", "ptt", {"duration": 3}, {"seconds": 3}, is_captioned=False),
    "once": _File("image/png", "", {"isViewOnce": True}, {"view_once": True}),
    "picture": _File("image/png"),
    "large": _File("application/pdf", size=LARGE),
}


def drawn(chance: random.Random, weights: Mapping[Any, float]) -> Any:
    """One of them."""
    return chance.choices([*weights], [*weights.values()])[0]


def coming(kind: str, text: str, chance: random.Random) -> Coming:
    """A message in which the application shows ``text``, where the kind shows any."""
    if file := _FILES.get(kind):
        return _file(kind, text if file.is_captioned else "", file, chance)
    if kind == "text":
        return Coming(kind=kind, text=text, fields={"body": text})
    shown, attributes, content = _said(kind, text)
    content = {attributes["type"]: content}
    return Coming(kind=kind, text=shown, fields={"attributes": attributes}, content=content)


def _said(kind: str, text: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """What the application shows, the message's attributes at WhatsApp, and what is read in them."""
    match kind:
        case "location":
            place = {"type": kind, "lat": -6.2, "lng": 106.8, "loc": f"{text}\nJakarta"}
            shown = f"{text}\nJakarta\nhttps://maps.google.com/?q=-6.2,106.8"
            read = {"latitude": -6.2, "longitude": 106.8, "name": text, "address": "Jakarta"}
            return shown, place | {"body": "/9j/" + "thumbnail" * 9}, read
        case "contact":
            card = _CARD.format(text)
            one = {"type": "vcard", "body": card, "vcardFormattedName": text}
            return card, one, {"contacts": [{"name": text, "vcard": card}]}
        case "contacts":
            cards = {name: _CARD.format(name) for name in (text, "Budi")}
            listed = [{"displayName": name, "vcard": card} for name, card in cards.items()]
            read = {"contacts": [{"name": name, "vcard": card} for name, card in cards.items()]}
            return "\n".join(cards), {"type": "multi_vcard", "vcardList": listed}, read
        case "button":
            chosen = {"type": "buttons_response", "body": text, "selectedButtonId": "b1"}
            return text, chosen, {"id": "b1", "text": text}
        case "list":
            reply: dict[str, Any] = {"title": text, "singleSelectReply": {"selectedRowId": "r1"}}
            answer = {"type": "list_response", "body": text, "listResponse": reply}
            return text, answer, {"id": "r1", "text": text}
        case "order":
            bill = {"itemCount": 2, "totalAmount1000": 5_000, "totalCurrencyCode": "IDR"}
            read = {"id": "7", "title": text, "items": 2, "total_1000": 5_000, "currency": "IDR"}
            return f"{text}\n7", {"type": kind, "orderId": "7", "orderTitle": text, **bill}, read
        case "poll":
            named = [{"name": name, "localId": place} for place, name in enumerate(OPTIONS)]
            asked: dict[str, Any] = {"type": "poll_creation", "pollName": text}
            asked |= {"pollOptions": named, "pollSelectableOptionsCount": 1}
            read = {"question": text, "options": [*OPTIONS], "selectable": 1}
            return "\n".join((text, *OPTIONS)), asked, read
        case _:
            raise ValueError(kind)


def going(kind: str, to: str, text: str, chance: random.Random) -> Going:
    """A message to ``to`` that ``text`` is found in."""
    match kind:
        case "location":
            fields = {"latitude": -6.2, "longitude": 106.8, "name": text}
            has = {"type": "location", "lat": -6.2, "lng": 106.8}
            return _goes("send-location", to, fields, has)
        case "contact":
            fields = {"contacts": [{"name": text, "phone": to}]}
            return _goes("send-contact", to, fields, {"type": "vcard", "vcardFormattedName": text})
        case "poll":
            fields = {"question": text, "options": [*OPTIONS]}
            return _goes("send-poll", to, fields, {"type": "poll_creation", "pollName": text})
        case "voice":
            content = _OPUS + chance.randbytes(SMALL)
            fields = {"type": "voice", "mimetype": "audio/ogg", "filename": text}
            return _goes_as_file(to, content, fields, {"type": "ptt"})
        case "sticker":
            fields = {"type": "sticker", "mimetype": "image/webp", "filename": text}
            return _goes_as_file(to, chance.randbytes(SMALL), fields, {"type": "sticker"})
        case "once":
            fields = {"mimetype": "image/png", "caption": text, "view_once": True}
            has = {"type": "image", "isViewOnce": True}
            return _goes_as_file(to, chance.randbytes(SMALL), fields, has)
        case "upload" | "large":
            content = chance.randbytes(LARGE if kind == "large" else UPLOADED)
            fields = {"media_sha256": hashlib.sha256(content).hexdigest(), "caption": text}
            has = {"type": "document", "filehash": _name(content)}
            return _goes("send-media", to, fields, has, content)
        case _:
            return _goes("send", to, {"message": text, "type": "text"}, {"type": "chat"})


def _file(kind: str, text: str, file: _File, chance: random.Random) -> Coming:
    data = chance.randbytes(file.size)
    media = {"mimetype": file.mimetype, "base64": base64.b64encode(data).decode()}
    return Coming(
        kind=kind,
        text=text,
        fields={"body": text, "media": media, "type": file.type}
        | {"attributes": dict(file.attributes)},
        content=file.content,
        file=hashlib.sha256(data).hexdigest(),
    )


def _goes(
    path: str,
    to: str,
    fields: Mapping[str, Any],
    at_server: Mapping[str, Any],
    upload: bytes = b"",
) -> Going:
    given = {"recipient_phone": to, **fields}
    return Going(path=path, fields=given, at_server=at_server, upload=upload)


def _goes_as_file(
    to: str, content: bytes, fields: Mapping[str, Any], at_server: Mapping[str, Any]
) -> Going:
    media = {"media": base64.b64encode(content).decode(), **fields}
    return _goes("send-media", to, media, {**at_server, "filehash": _name(content)})


def _name(content: bytes) -> str:
    """A file's name at WhatsApp."""
    return base64.b64encode(hashlib.sha256(content).digest()).decode()
