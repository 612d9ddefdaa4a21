"""What a request wants to be sent: its file, what it answers, whom it names."""

import base64
import mimetypes
import re
from dataclasses import dataclass, field, replace
from typing import Any, Final

from waguard.api import fields
from waguard.core.messages.received_media import MEDIA_LIMIT
from waguard.messaging.outbox.commands import Context, Media
from waguard.messaging.outbox.fetch import Fetcher

CAPTION_LIMIT: Final = 1_024
FILENAME_LIMIT: Final = 255
MIMETYPE_LIMIT: Final = 100
MENTIONS_LIMIT: Final = 100
UNKNOWN_TYPE: Final = "application/octet-stream"
_MIMETYPE: Final = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
_DATA_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*;base64,", re.ASCII)
_KINDS: Final = {"image", "video", "audio", "document"}
_PERSON: Final = r"[0-9]{5,20}(?::[0-9]{1,5})?@(?:c\.us|lid)"
_MESSAGE_ID: Final = re.compile(
    rf"(?:true|false)_([0-9-]{{5,41}}@(?:c\.us|lid|g\.us))_[A-Za-z0-9.-]{{1,128}}(?:_{_PERSON})?"
)


def context(body: dict[str, Any], chat: str) -> Context:
    """``quoted_message_id`` and ``mentions``; a message goes to ``chat``."""
    return Context(quoted=_quoted(body, chat), mentions=_mentions(body))


def _quoted(body: dict[str, Any], chat: str) -> str | None:
    name = "quoted_message_id"
    value = body.get(name)
    if value is None or value == "":
        return None
    found = _MESSAGE_ID.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise fields.bad(
            name, value, "not a message id", "as message_received has it: false_<chat>_<ID>"
        )
    # one person has two ids; which belong together, only the page knows
    if found[1] != chat and {_server(found[1]), _server(chat)} != {"c.us", "lid"}:
        raise fields.bad(
            name,
            value,
            f"it belongs to another chat than {chat}",
            "quote a message of the same chat",
        )
    return found[0]


def _server(chat: str) -> str:
    return chat.partition("@")[2]


def _mentions(body: dict[str, Any]) -> tuple[str, ...]:
    value = body.get("mentions")
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MENTIONS_LIMIT:
        raise fields.bad(
            "mentions", value, "not a list of people", f"a list of at most {MENTIONS_LIMIT} numbers"
        )
    people = [fields.chat_id(one, f"mentions[{index}]") for index, one in enumerate(value)]
    for index, person in enumerate(people):
        if _server(person) == "g.us":
            raise fields.bad(
                f"mentions[{index}]", person, "a group", "mention people: a number or chat id"
            )
    return tuple(dict.fromkeys(people))


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """The file of a request, with its content or with its address."""

    content: bytes = field(repr=False)
    url: str | None = None
    name: str
    """The field that holds it."""
    mimetype: str | None
    kind: str | None
    filename: str | None
    caption: str | None


def file(body: dict[str, Any]) -> File:
    """What a request says of its file."""
    given, name = body.get("media"), "media"
    if given is None:
        given, name = body.get("media_url"), "media_url"
    if not isinstance(given, str) or not given:
        raise fields.bad(
            name, given, "no file", "an address or a data: URL in media_url, or base64 in media"
        )
    is_url = given.startswith(("http://", "https://"))
    content, mimetype = (b"", None) if is_url else _decoded(given, name)
    filename = fields.optional_text(body, "filename", most=FILENAME_LIMIT)
    if filename and not filename.isprintable():
        raise fields.bad(
            "filename", filename, "invalid filename", "a name without control characters"
        )
    return File(
        content=content,
        url=given if is_url else None,
        name=name,
        mimetype=mimetype or _mimetype(body),
        kind=_kind(body),
        filename=filename,
        caption=fields.optional_text(body, "caption", most=CAPTION_LIMIT),
    )


def media(file: File) -> Media:
    """As the request has it: without content where that is to be fetched."""
    mimetype = file.mimetype or mimetypes.guess_type(file.filename or "")[0] or UNKNOWN_TYPE
    return Media(
        content=file.content,
        mimetype=mimetype,
        kind=file.kind or _family(mimetype),
        filename=file.filename,
        caption=file.caption,
    )


async def fetched(file: File, fetcher: Fetcher) -> File:
    """With what its server gave. Raises as ``Fetcher.fetch``."""
    found = await fetcher.fetch(file.url or "", file.name)
    return replace(
        file,
        content=found.content,
        filename=file.filename or _clean(found.filename),
        mimetype=file.mimetype or _said(found.mimetype),
    )


def _said(mimetype: str | None) -> str | None:
    """A server's word for a type, unless it says nothing, or cannot be passed on."""
    if mimetype is None or mimetype == UNKNOWN_TYPE or not _MIMETYPE.fullmatch(mimetype):
        return None
    return mimetype


def _decoded(given: str, name: str) -> tuple[bytes, str | None]:
    header = _DATA_URL.match(given)
    if name == "media_url" and not header:
        raise fields.bad(
            name,
            given,
            "neither an address nor a data: URL",
            "https://… or data:<type>;base64,<content>",
        )
    try:
        content = base64.b64decode(given[header.end() :] if header else given, validate=True)
    except ValueError:  # also of text that is not ASCII
        raise fields.bad(name, given, "not base64", "encode the file as standard base64") from None
    if not 0 < len(content) <= MEDIA_LIMIT:
        raise fields.bad(
            name, len(content), f"the file has {len(content)} bytes", f"1 to {MEDIA_LIMIT} bytes"
        )
    return content, header[1] if header else None


def _mimetype(body: dict[str, Any]) -> str | None:
    given = fields.optional_text(body, "mimetype", most=MIMETYPE_LIMIT)
    if given and not _MIMETYPE.fullmatch(given):
        raise fields.bad("mimetype", given, "invalid mimetype", "such as image/png")
    return given


def _kind(body: dict[str, Any]) -> str | None:
    given = body.get("type")
    if given is None or given == "media":
        return None
    if not isinstance(given, str) or given not in _KINDS:
        raise fields.bad("type", given, "unknown type", "image, video, audio or document")
    return given


def _family(mimetype: str) -> str:
    family = mimetype.partition("/")[0]
    return family if family in _KINDS else "document"


def _clean(name: str | None) -> str | None:
    """A server's word for a file, as far as it can be shown."""
    last = (name or "").replace("\\", "/").rpartition("/")[2].strip()
    return last if last.isprintable() and len(last) <= FILENAME_LIMIT and last else None
