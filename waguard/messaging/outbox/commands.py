"""What is sent, as the command that its worker gets, and as it is kept."""

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from msgspec import Struct

from waguard.core.messages.message_ids import parse
from waguard.wire.calls import Send, SendContent, SendFile, SendMedia, SendText, SendViewOnce

Command = Send


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """A file to send; ``kind`` as ``SendMedia`` has it."""

    content: bytes = field(default=b"", repr=False)
    file: str | None = None
    """The SHA-256 of one that lies on the disk."""
    size: int = 0
    """Bytes of that."""
    mimetype: str
    kind: str
    filename: str | None = None
    caption: str | None = None
    view_once: bool = False


class Context(Struct, frozen=True, kw_only=True):
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
    form = SendViewOnce if media.view_once else SendMedia
    command = form(
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


def content(
    chat: str, kind: str, fields: dict[str, Any], context: Context = NO_CONTEXT
) -> SendContent:
    """The command for a location, contacts or a poll."""
    return SendContent(
        chat=chat,
        kind=kind,
        content=fields,
        message_id="",
        timeout=0.0,
        quoted=context.quoted,
        mentions=context.mentions,
    )


def action(chat: str, kind: str, target: str, fields: dict[str, Any]) -> SendContent:
    """The command for a change of a message: one of ``send_states.ACTIONS``."""
    return SendContent(
        chat=chat, kind=kind, target=target, content=fields, message_id="", timeout=0.0
    )


def replaces(kind: str, target: str, older: Command) -> bool:
    """Whether an action makes an older one on the same message needless."""
    if not isinstance(older, SendContent) or older.target is None:
        return False
    return kind in {older.kind, "revoke"} and _stem(target) == _stem(older.target)


def _stem(message_id: str) -> tuple[bool, str] | None:
    """What stays where a chat gets another id."""
    key = parse(message_id)
    return (key.from_me, key.stem) if key else None


def kind_of(command: Command) -> str:
    """The message's type, as the API names it."""
    return "text" if isinstance(command, SendText) else command.kind


def size_of(command: Command) -> int:
    """Bytes of its file; 0: there is none, or it is not known yet."""
    if isinstance(command, SendFile):
        return command.size
    return len(command.content) if isinstance(command, SendMedia) else 0


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
    command: Command = msgspec.json.decode(body, type=Send)
    if isinstance(command, SendMedia):
        return msgspec.structs.replace(command, content=content or b"")
    return command
