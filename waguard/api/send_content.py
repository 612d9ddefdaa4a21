"""What a request wants to be sent: its file, what it answers, whom it names; and how."""

import base64
import re
import time
from dataclasses import dataclass, replace
from dataclasses import field as hidden
from datetime import datetime
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType, field

from waguard.api import fields
from waguard.api.fields import AS_IT_IS, TYPES, ChatId, Flag, Kind, SessionId, WorkspaceId, short
from waguard.api.file_type import FAMILIES, family, guessed
from waguard.core import outgoing_address
from waguard.core.messages.received_media import MEDIA_LIMIT, NAME
from waguard.messaging.outbox.commands import Context, Media
from waguard.messaging.outbox.fetch import Fetcher
from waguard.messaging.outbox.outgoing_files import OutgoingFile, OutgoingFiles
from waguard.messaging.outbox.pending_sends import Options

CAPTION_LIMIT: Final = 1_024
FILENAME_LIMIT: Final = 255
MIMETYPE_LIMIT: Final = 100
MENTIONS_LIMIT: Final = 100
KEY_LIMIT: Final = 200
FARTHEST: Final = 366 * 86_400.0  # s
_UNIX_LIMIT: Final = 1e11  # s; more are milliseconds
UNKNOWN_TYPE: Final = "application/octet-stream"
# S3 says the second of each object that was stored without a type, curl the third of each upload
_NO_TYPES: Final = frozenset(
    {UNKNOWN_TYPE, "binary/octet-stream", "application/x-www-form-urlencoded"}
)
_MIMETYPE: Final = re.compile(r"[\w.+-]+/[\w.+-]+(?:; ?[\w.+-]+=[\w.+-]+)*", re.ASCII)
# of the parameters only an audio's codec makes a difference
_DATA_URL: Final = re.compile(
    r"data:(audio/[\w.+-]+; ?codecs=[\w.+-]+|[\w.+-]+/[\w.+-]+)?(?:; ?[\w=.+-]+)*;base64,", re.ASCII
)
_STRING: Final = Meta(extra_json_schema={"type": ["string", "null"]})
_KINDS: Final = (*FAMILIES, "voice", "sticker")
_PERSON: Final = r"[0-9]{5,20}(?::[0-9]{1,5})?@(?:c\.us|lid)"
MESSAGE_ID: Final = re.compile(
    rf"(?:true|false)_([0-9-]{{5,41}}@(?:c\.us|lid|g\.us))_[A-Za-z0-9.-]{{1,128}}(?:_{_PERSON})?"
)


def _quoted(value: Any, name: str) -> str:
    if isinstance(value, str) and MESSAGE_ID.fullmatch(value):
        return value
    raise fields.bad(
        name, value, "not a message id", "as message_received has it: false_<chat>_<ID>"
    )


def _server(chat: str) -> str:
    return chat.partition("@")[2]


def _mentions(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MENTIONS_LIMIT:
        raise fields.bad(
            name, value, "not a list of people", f"a list of at most {MENTIONS_LIMIT} numbers"
        )
    people = [fields.chat_id(one, f"{name}[{index}]") for index, one in enumerate(value)]
    for index, person in enumerate(people):
        if _server(person) == "g.us":
            raise fields.bad(
                f"{name}[{index}]", person, "a group", "mention people: a number or chat id"
            )
    return tuple(dict.fromkeys(people))


def _filename(value: Any, field: str) -> str:
    name: str = short(FILENAME_LIMIT).read(value, field)
    if not name.isprintable():
        raise fields.bad(field, name, "invalid filename", "a name without control characters")
    return name


def _mimetype(value: Any, field: str) -> str:
    given: str = short(MIMETYPE_LIMIT).read(value, field)
    if not _MIMETYPE.fullmatch(given):
        raise fields.bad(field, given, "invalid mimetype", "such as image/png")
    return given


def _sha256(value: Any, field: str) -> str:
    if isinstance(value, str) and NAME.fullmatch(value):
        return value
    raise fields.bad(field, value, "not the SHA-256 of a file", "as POST /api/media answered it")


def _kind(value: Any, field: str) -> str:
    if isinstance(value, str) and value in {*_KINDS, "media"}:
        return value
    raise fields.bad(field, value, "unknown type", ", ".join(_KINDS))


def _send_at(value: Any, field: str) -> float:
    moment = _moment(value)
    if moment is None or moment < 0:
        raise fields.bad(
            field, value, "not a time", "2026-11-25T18:00:00+07:00, or unix time in seconds"
        )
    if moment > time.time() + FARTHEST:
        raise fields.bad(field, value, "it is too far from now", "a time within a year")
    return moment


def _moment(value: Any) -> float | None:
    """Unix time; None: it is none, or has no zone."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if abs(value) < _UNIX_LIMIT else None
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo else None


def _text_only(value: Any, field: str) -> str:
    if value == "text":
        return "text"
    raise fields.bad(field, value, "only text here", "use /api/messages/send-media for a file")


TextOnly = Annotated[str, Kind(_text_only), Meta(extra_json_schema={"enum": ["text"]})]
Quoted = Annotated[
    str,
    Kind(_quoted, blank=True),
    Meta(description="as message_received has it", examples=["false_6281234567890@c.us_3EB0A1"]),
]
Mentions = Annotated[
    tuple[ChatId, ...],
    Kind(_mentions),
    Meta(max_length=MENTIONS_LIMIT, description="people: numbers or chat ids"),
]


SendAt = Annotated[
    float,
    Kind(_send_at, blank=True),
    Meta(
        description="an ISO time with its zone, or unix time in seconds; within a year",
        extra_json_schema={TYPES: ["string", "number"]},
    ),
]
IdempotencyKey = Annotated[str, short(KEY_LIMIT), Meta(max_length=KEY_LIMIT)]


class Wanting(Struct, kw_only=True):
    """Whatever is kept and goes out."""

    session_id: SessionId
    idempotency_key: IdempotencyKey | None = None
    later: Flag | UnsetType = field(default=UNSET, name="async")
    queue: Flag | UnsetType = UNSET
    send_at: SendAt | None = None
    workspace_id: WorkspaceId | None = None


class Sending(Wanting, kw_only=True):
    """Whatever is sent to one chat."""

    recipient_phone: ChatId
    quoted_message_id: Quoted | None = None
    mentions: Mentions | None = None


class Once(Struct, kw_only=True):
    """Requests with the same key are one message for 24 hours."""

    idempotency_key: Annotated[str, AS_IT_IS, Meta(max_length=KEY_LIMIT)] | None = field(
        default=None, name="Idempotency-Key"
    )


class How(Struct, kw_only=True):
    """Options that may be in the query, too."""

    later: Flag = field(default=False, name="async")
    queue: Flag = False


class SendMedia(Sending, kw_only=True):
    """A file to send."""

    media: Annotated[Any, AS_IT_IS, _STRING, Meta(description="base64", examples=["aGVsbG8="])] = (
        None
    )
    media_url: Annotated[Any, AS_IT_IS, _STRING, Meta(description="http(s): or data:")] = None
    media_sha256: (
        Annotated[
            str, Kind(_sha256, blank=True), Meta(description="as POST /api/media answered it")
        ]
        | None
    ) = None
    filename: (
        Annotated[str, Kind(_filename, blank=True), Meta(max_length=FILENAME_LIMIT)] | None
    ) = None
    mimetype: (
        Annotated[str, Kind(_mimetype, blank=True), Meta(max_length=MIMETYPE_LIMIT)] | None
    ) = None
    type: (
        Annotated[str, Kind(_kind), Meta(extra_json_schema={"enum": [*_KINDS, "media"]})] | None
    ) = None
    caption: Annotated[str, short(CAPTION_LIMIT), Meta(max_length=CAPTION_LIMIT)] | None = None
    view_once: Flag = False


def context(body: Sending) -> Context:
    """What a message quotes, and whom it names."""
    chat, quoted = body.recipient_phone, body.quoted_message_id
    of = quoted.split("_")[1] if quoted else chat
    # one person has two ids; which belong together, only the page knows
    if of != chat and {_server(of), _server(chat)} != {"c.us", "lid"}:
        raise fields.bad(
            "quoted_message_id",
            quoted,
            f"it belongs to another chat than {chat}",
            "quote a message of the same chat",
        )
    return Context(quoted=quoted, mentions=body.mentions or ())


def options(body: Wanting, query: How, headers: Once) -> Options:
    """How a request wants its message to be sent; what the body says counts."""
    return Options(
        key=idempotency_key(headers, body.idempotency_key),
        later=query.later if body.later is UNSET else body.later,
        queue=query.queue if body.queue is UNSET else body.queue,
        send_at=body.send_at,
    )


def idempotency_key(headers: Once, named: str | None) -> str | None:
    """The header, or the field."""
    given = headers.idempotency_key
    if given is not None and named is not None and given != named:
        raise fields.bad(
            "idempotency_key", named, "the header has another one", "send one of the two"
        )
    key = named if given is None else given
    if key is not None and not (key and len(key) <= KEY_LIMIT and key.isprintable()):
        raise fields.bad(
            "Idempotency-Key", key, "invalid key", f"1 to {KEY_LIMIT} printable characters"
        )
    return key


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """The file of a request, with its content or with its address."""

    content: bytes = hidden(default=b"", repr=False)
    uploaded: OutgoingFile | None = None
    url: str | None = None
    name: str
    """The field that holds it."""
    mimetype: str | None
    kind: str | None
    filename: str | None
    caption: str | None
    view_once: bool = False


async def file(body: SendMedia, files: OutgoingFiles) -> File:
    """What a request says of its file."""
    if body.media_sha256 is not None:
        return File(
            uploaded=await _uploaded(body, files),
            name="media_sha256",
            mimetype=body.mimetype,
            kind=None if body.type == "media" else body.type,
            filename=body.filename,
            caption=body.caption,
            view_once=body.view_once,
        )
    name = "media_url" if body.media is None else "media"
    given = body.media_url if body.media is None else body.media
    if not isinstance(given, str) or not given:
        raise fields.bad(
            name, given, "no file", "an address or a data: URL in media_url, or base64 in media"
        )
    given = outgoing_address.encoded(given) if name == "media_url" else given
    is_url = given.startswith(("http://", "https://"))
    content, mimetype = (b"", None) if is_url else _decoded(given, name)
    return File(
        content=content,
        url=given if is_url else None,
        name=name,
        mimetype=mimetype or body.mimetype,
        kind=None if body.type == "media" else body.type,
        filename=body.filename,
        caption=body.caption,
        view_once=body.view_once,
    )


async def _uploaded(body: SendMedia, files: OutgoingFiles) -> OutgoingFile:
    name, given = body.media_sha256 or "", (body.media, body.media_url)
    if any(it is not None for it in given):
        raise fields.bad("media_sha256", name, "the request has another file", "send one of them")
    if (found := await files.find(name)) is None:
        raise fields.bad(
            "media_sha256", name, "there is no such file", "upload it by POST /api/media"
        )
    return found


def media(file: File) -> Media:
    """As the request has it: without content where that is to be fetched."""
    uploaded = file.uploaded
    mimetype = (
        file.mimetype
        or (uploaded and _said(uploaded.mimetype))
        or guessed(file.filename or "", uploaded.start if uploaded else file.content)
        or UNKNOWN_TYPE
    )
    return Media(
        content=file.content,
        file=uploaded.name if uploaded else None,
        size=uploaded.size if uploaded else 0,
        mimetype=mimetype,
        kind=file.kind or family(mimetype),
        filename=file.filename,
        caption=file.caption,
        view_once=file.view_once,
    )


async def fetched(file: File, fetcher: Fetcher, session_id: str) -> File:
    """With what its server gave. Raises as ``Fetcher.fetch``."""
    found = await fetcher.fetch(file.url or "", file.name, session_id)
    return replace(
        file,
        content=found.content,
        uploaded=found.file,
        filename=file.filename or _clean(found.filename),
        mimetype=file.mimetype or _said(found.mimetype),
    )


def _said(mimetype: str | None) -> str | None:
    """A server's word for a type, unless it says nothing, or cannot be passed on."""
    if mimetype is None or mimetype in _NO_TYPES or not _MIMETYPE.fullmatch(mimetype):
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


def _clean(name: str | None) -> str | None:
    """A server's word for a file, as far as it can be shown."""
    last = (name or "").replace("\\", "/").rpartition("/")[2].strip()
    return last if last.isprintable() and len(last) <= FILENAME_LIMIT and last else None
