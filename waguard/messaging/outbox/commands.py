"""What is sent, as the command that its worker gets, and as it is kept."""

from dataclasses import dataclass, field
from typing import Final

import msgspec

from waguard.wire.calls import SendFile, SendMedia, SendText

Command = SendText | SendMedia | SendFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """A file to send; ``kind`` is image, video, audio or document."""

    content: bytes = field(default=b"", repr=False)
    file: str | None = None
    """The SHA-256 of one that lies on the disk."""
    size: int = 0
    """Bytes of that."""
    mimetype: str
    kind: str
    filename: str | None = None
    caption: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a message refers to: the one that it answers, the people that it names (ids)."""

    quoted: str | None = None
    mentions: tuple[str, ...] = ()


NO_CONTEXT: Final = Context()


def text(chat: str, body: str, context: Context = NO_CONTEXT) -> SendText:
    """The command for a text; its id and its deadline are the outbox's."""
    return SendText(
        chat=chat,
        text=body,
        message_id="",
        timeout=0.0,
        quoted=context.quoted,
        mentions=context.mentions,
    )


def file(chat: str, media: Media, context: Context = NO_CONTEXT) -> SendMedia:
    """The command for a file."""
    command = SendMedia(
        chat=chat,
        content=media.content,
        mimetype=media.mimetype,
        kind=media.kind,
        filename=media.filename,
        caption=media.caption,
        message_id="",
        timeout=0.0,
        quoted=context.quoted,
        mentions=context.mentions,
    )
    if media.file is None:
        return command
    return SendFile(**msgspec.structs.asdict(command), file=media.file, size=media.size)


def kind_of(command: Command) -> str:
    """The message's type, as the API names it."""
    return command.kind if isinstance(command, SendMedia) else "text"


def body_of(command: Command) -> bytes:
    """What is kept of the command beside its file."""
    if isinstance(command, SendMedia):
        command = msgspec.structs.replace(command, content=b"")
    fields = msgspec.to_builtins(command)
    # no part of the message, and later than the rest: a repetition over an upgrade is the same message
    for name in ("hold", "aliases"):
        fields.pop(name)
    return msgspec.json.encode(fields)


def command_of(body: bytes, content: bytes | None) -> Command:
    """The command of what was kept."""
    command: Command = msgspec.json.decode(body, type=SendText | SendMedia | SendFile)
    if isinstance(command, SendMedia):
        return msgspec.structs.replace(command, content=content or b"")
    return command
