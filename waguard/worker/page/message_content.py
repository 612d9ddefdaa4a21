"""What a message has beside its text, as the page reported it: each value bounded, what is odd left out."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from waguard.core.messages.content import CONTENT_LIMIT
from waguard.worker.page.values import LARGEST, moment, whole, word

Reader = Callable[[Any], object]
"""None: it is left out."""

TEXT_LIMIT: Final = 1_024  # characters of a name, an address, a description
VCARD_LIMIT: Final = 2_048
ENTRIES: Final = 20  # contacts, options of a poll
RAW_FIELDS: Final = 40


def read_content(reported: Any) -> str | None:
    """JSON of at most ``CONTENT_LIMIT`` characters, by what it is; None: there is nothing beside the text."""
    given = reported if isinstance(reported, dict) else {}
    read = ((name, reader(given[name])) for name, reader in _CONTENT.items() if name in given)
    found = {name: value for name, value in read if value}
    while found and len(encoded := msgspec.json.encode(found).decode()) > CONTENT_LIMIT:
        found.popitem()  # the least important is the last
    return encoded if found else None


def _text(value: Any) -> str | None:
    return word(value, TEXT_LIMIT) or None


def _number(value: Any) -> float | int | None:
    if isinstance(value, float) and math.isfinite(value):
        return value
    found = whole(value)
    return found if found is not None and abs(found) <= LARGEST else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _vcard(value: Any) -> str | None:
    return word(value, VCARD_LIMIT) or None


def _some(reader: Reader) -> Reader:
    def read(value: Any) -> object:
        given = value[:ENTRIES] if isinstance(value, list) else []
        return [one for it in given if (one := reader(it)) is not None]

    return read


def _fields(**readers: Reader) -> Reader:
    def read(value: Any) -> object:
        given = value if isinstance(value, dict) else {}
        read = ((name, reader(given.get(name))) for name, reader in readers.items())
        return {name: it for name, it in read if it is not None} or None

    return read


def _raw(value: Any) -> object:
    given = list(value.items())[:RAW_FIELDS] if isinstance(value, dict) else []
    read = ((word(name), _flag(it), _number(it), word(it)) for name, it in given)
    found = {name: next((it for it in some if it is not None), None) for name, *some in read}
    return {name: it for name, it in found.items() if it is not None and name}


_CHOICE: Final = _fields(id=_text, text=_text, description=_text)
_SALE: Final = _fields(
    id=_text,
    title=_text,
    items=_number,
    total_1000=_number,
    price_1000=_number,
    currency=_text,
    text=_text,
    description=_text,
    url=_text,
    seller=_text,
)
_CONTACTS: Final = _fields(contacts=_some(_fields(name=_text, vcard=_vcard)))
_CONTENT: Final[Mapping[str, Reader]] = {
    "poll_update": _fields(options=_some(_text)),
    "poll_creation": _fields(question=_text, options=_some(_text), selectable=_number),
    "buttons_response": _CHOICE,
    "template_button_reply": _CHOICE,
    "list_response": _CHOICE,
    "location": _fields(
        latitude=_number,
        longitude=_number,
        name=_text,
        address=_text,
        url=_text,
        comment=_text,
        live=_flag,
    ),
    "event_creation": _fields(
        name=_text,
        description=_text,
        starts_at=moment,
        ends_at=moment,
        place=_text,
        url=_text,
        cancelled=_flag,
    ),
    "groups_v4_invite": _fields(group=_text, name=_text, code=_text, expires_at=moment, text=_text),
    "order": _SALE,
    "product": _SALE,
    "sticker": _fields(animated=_flag),
    "view_once": _flag,
    "forwarded": _flag,
    "seconds": _number,
    "ad": _fields(title=_text, text=_text, url=_text, id=_text, app=_text, media_url=_text),
    "preview": _fields(title=_text, text=_text, url=_text),
    "vcard": _CONTACTS,
    "multi_vcard": _CONTACTS,
    "raw": _raw,
}
"""By WhatsApp's word for the type of a message, or by what any message may have."""
