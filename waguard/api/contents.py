"""What a request wants to be sent that is neither text nor file: a location, contact cards, a poll."""

import math
from collections.abc import Callable
from typing import Annotated, Any, Final

from msgspec import Meta

from waguard.api import fields
from waguard.api.fields import TYPES, Kind, integer, short
from waguard.api.send_content import Sending

NAME_LIMIT: Final = 255  # characters, as of a poll's question
ADDRESS_LIMIT: Final = 1_024
CONTACTS_LIMIT: Final = 20
OPTION_LIMIT: Final = 100
OPTIONS_LIMIT: Final = 12  # WhatsApp's own


def _degrees(most: int) -> Callable[[Any, str], float]:
    def read(value: Any, field: str) -> float:
        try:
            degrees = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            degrees = math.nan
        if abs(degrees) <= most:
            return degrees
        raise fields.bad(field, value, f"invalid {field}", f"degrees from -{most} to {most}")

    return read


def _line(value: Any, field: str, most: int = NAME_LIMIT) -> str:
    if isinstance(value, str) and value.strip() and len(value) <= most:
        return value
    raise fields.bad(field, value, f"{field} is empty or too long", f"1 to {most} characters")


def _contacts(value: Any, field: str) -> list[dict[str, str]]:
    if not isinstance(value, list) or not 1 <= len(value) <= CONTACTS_LIMIT:
        allowed = f"a list of 1 to {CONTACTS_LIMIT} contacts"
        raise fields.bad(field, value, "not a list of contacts", allowed)
    found = []
    for index, one in enumerate(value):
        if not isinstance(one, dict):
            raise fields.bad(f"{field}[{index}]", one, "not a contact", "an object: name, phone")
        at = f"{field}[{index}]"
        # the page makes lines of a vCard of it
        name = " ".join(_line(one.get("name"), f"{at}.name").split())
        found.append({"name": name, "phone": fields.phone(one.get("phone"), f"{at}.phone")})
    return found


def _options(value: Any, field: str) -> list[str]:
    if not isinstance(value, list) or not 2 <= len(value) <= OPTIONS_LIMIT:  # noqa: PLR2004 - one is no choice
        allowed = f"a list of 2 to {OPTIONS_LIMIT} texts"
        raise fields.bad(field, value, "not a list of options", allowed)
    found = [_line(one, f"{field}[{index}]", OPTION_LIMIT) for index, one in enumerate(value)]
    if len({*found}) < len(found):
        raise fields.bad(field, value, "an option comes twice", "different options")
    return found


def _meta_degrees(most: int) -> Meta:
    shown = {TYPES: ["number", "string"], "minimum": -most, "maximum": most}
    return Meta(extra_json_schema=shown | {"pattern": r"^-?[0-9]{1,3}(\.[0-9]{1,15})?$"})


Line = Annotated[
    str, Kind(_line), Meta(pattern=r"\S", max_length=NAME_LIMIT, examples=["The office"])
]
_CONTACT: Final = {
    "type": "object",
    "required": ["name", "phone"],
    "properties": {
        "name": {"type": "string", "pattern": r"\S", "maxLength": NAME_LIMIT},
        "phone": {"type": "string", "pattern": r"^\+?[0-9]{5,15}$"},
    },
}


class SendLocation(Sending, kw_only=True):
    """A location to send."""

    latitude: Annotated[float, Kind(_degrees(90)), _meta_degrees(90)]
    longitude: Annotated[float, Kind(_degrees(180)), _meta_degrees(180)]
    name: Annotated[str, short(NAME_LIMIT), Meta(max_length=NAME_LIMIT)] | None = None
    address: Annotated[str, short(ADDRESS_LIMIT), Meta(max_length=ADDRESS_LIMIT)] | None = None
    url: Annotated[str, short(ADDRESS_LIMIT), Meta(max_length=ADDRESS_LIMIT)] | None = None


class SendContact(Sending, kw_only=True):
    """Contact cards to send, in one message."""

    contacts: Annotated[
        list[dict[str, str]],
        Kind(_contacts),
        Meta(
            min_length=1,
            max_length=CONTACTS_LIMIT,
            description="each with name and phone",
            extra_json_schema={"items": _CONTACT},
        ),
    ]


class SendPoll(Sending, kw_only=True):
    """A poll to send; ``selectable``: how many options one may choose, 0: all."""

    question: Line
    options: Annotated[
        list[Annotated[str, Meta(pattern=r"\S", max_length=OPTION_LIMIT)]],
        Kind(_options),
        Meta(min_length=2, max_length=OPTIONS_LIMIT, extra_json_schema={"uniqueItems": True}),
    ]
    selectable: Annotated[
        int,
        Kind(integer(0, OPTIONS_LIMIT), blank=True),
        fields.digits(0, OPTIONS_LIMIT, "^([0-9]|1[0-2])?$"),
    ] = 1


def location(body: SendLocation) -> dict[str, Any]:
    """The fields of a location."""
    place = {"name": body.name, "address": body.address, "url": body.url}
    found: dict[str, Any] = {"latitude": body.latitude, "longitude": body.longitude}
    return found | {name: value for name, value in place.items() if value}


def contact(body: SendContact) -> dict[str, Any]:
    """The fields of contact cards."""
    return {"contacts": body.contacts}


def poll(body: SendPoll) -> dict[str, Any]:
    """The fields of a poll."""
    if body.selectable > len(body.options):
        raise fields.bad(
            "selectable", body.selectable, "there are fewer options", "at most their number; 0: all"
        )
    return {"question": body.question, "options": body.options, "selectable": body.selectable}
