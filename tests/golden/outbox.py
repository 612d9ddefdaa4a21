"""Commands as the outbox keeps them, what makes two requests the same, and the row's limits of a session."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from tests.clocks import Clock
from tests.golden.formats import Format
from tests.golden.sampling import samples
from waguard.core.messages.first_contact_pauses import Cause, Pause
from waguard.messaging.outbox.commands import Command, body_of, command_of
from waguard.messaging.outbox.repetitions import fingerprint
from waguard.supervision.session.whatsapp_quotas import Limits
from waguard.supervision.session.worker_link import WorkerLink
from waguard.wire.calls import PairingCode, SendContent, SendMedia, SendText, SendViewOnce, Value

(TEXT,) = samples(SendText)
(MEDIA,) = samples(SendMedia)
(ONCE,) = samples(SendViewOnce)
(CONTENT,) = samples(SendContent)
COMMANDS: Final[dict[str, Command]] = {"text": TEXT, "media": MEDIA}
UNTIL: Final = 1_790_086_400.0


def kept(command: Command) -> Command:
    """What is kept of it: not what is asked of the page."""
    return msgspec.structs.replace(command, hold=False, aliases={})


def _fingerprints(folder: Path) -> bytes:
    del folder
    made = {name: fingerprint("alpha", it) for name, it in COMMANDS.items()}
    made["scheduled"] = fingerprint("alpha", TEXT, "bulk", UNTIL)
    return msgspec.json.format(msgspec.json.encode(made), indent=1)


@dataclass
class Row:
    """The session's row, and a worker that gets every code."""

    limits: str | None = None

    async def write(self, limits: str | None) -> None:
        """As the store does."""
        self.limits = limits

    async def ask(self, call: PairingCode) -> Value:
        """As a worker does."""
        return Value(text=call.phone)

    def read(self) -> Limits:
        """As a start does."""
        return Limits(
            "alpha", self.limits, Clock(), phone=lambda: "628123", write=self.write, retry=0.0
        )


async def _limited() -> bytes:
    row = Row()
    limits = row.read()
    limits.said(UNTIL)
    await limits.code(cast("WorkerLink", row), PairingCode(phone="628123"))
    keeping = asyncio.create_task(limits.keep())
    while row.limits is None:
        await asyncio.sleep(0)
    keeping.cancel()
    return row.limits.encode()


def _read_limits(content: bytes, folder: Path) -> Any:
    del folder
    return Row(content.decode()).read().pause


def _command(name: str, command: Command) -> Format:
    return Format(
        name=f"outbox/{name}.json",
        write=lambda _: body_of(command),
        read=lambda content, _: command_of(content, getattr(command, "content", None)),
        means=kept(command),
    )


FORMATS: Final = (
    _command("text", TEXT),
    _command("media", MEDIA),
    _command("view_once", ONCE),
    _command("content", CONTENT),
    Format(
        name="outbox/fingerprints.json",
        write=_fingerprints,
        read=lambda content, folder: (
            msgspec.json.decode(content) == msgspec.json.decode(_fingerprints(folder))
        ),
        means=True,
    ),
    Format(
        name="outbox/limits.json",
        write=lambda _: asyncio.run(_limited()),
        read=_read_limits,
        means=Pause(cause=Cause.LOCKED, since=Clock().at, until=UNTIL, said=True, times=0),
    ),
)
