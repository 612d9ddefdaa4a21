"""Through how many hands a message goes: files, functions and forms, of a real daemon and its worker.

    python -m bench.walk [--list]

One session on the stand-in receives a message and sends one. The text of each is a mark: a function counts
where an argument holds the mark, a form is the type of what held it. Both processes are traced by a hook
that Python loads at their start; the daemon is slow meanwhile, so no time is measured here.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from waguard.cli.client import ApiClient
from waguard.lab.harness import DaemonProcess, Receiver, settings
from waguard.lab.standin import StandIn

SESSION: Final = "walk"
PHONE: Final = "6281180001"
FRIEND: Final = "6281180002"
RECEIVED: Final = "mark-of-a-received-message"
SENT: Final = "mark-of-a-message-to-be-sent"
DEADLINE: Final = 120.0  # s; tracing makes every step slow
HOOK: Final = Path(__file__).parent / "walk_hook.py"


class Step(msgspec.Struct, frozen=True):
    """One function that was handed the mark for the first time, as the hook writes it."""

    mark: str
    file: str
    function: str
    forms: tuple[str, ...]


class Walk(msgspec.Struct, frozen=True):
    """What one message passed, in the order in which it came there in each process."""

    name: str
    steps: tuple[Step, ...]

    def line(self) -> str:
        """The figures."""
        files = {step.file for step in self.steps}
        functions = {(step.file, step.function) for step in self.steps}
        forms = {form for step in self.steps for form in step.forms}
        return f"{self.name}: {len(files)} files, {len(functions)} functions, {len(forms)} forms"


def read(folder: Path) -> list[Step]:
    """What the processes wrote, process by process."""
    lines = [line for file in sorted(folder.iterdir()) for line in file.read_bytes().splitlines()]
    return [msgspec.json.decode(line, type=Step) for line in lines]


def walks(steps: Iterable[Step]) -> tuple[Walk, Walk]:
    """A received message until its webhook, and one that is sent until its own."""
    taken = list(steps)
    return (
        Walk("received", tuple(step for step in taken if step.mark == RECEIVED)),
        Walk("sent", tuple(step for step in taken if step.mark == SENT)),
    )


async def trace(folder: Path) -> tuple[Walk, Walk]:
    """Let a session receive a message and send one."""
    hook, steps = folder / "hook", folder / "steps"
    hook.mkdir()
    steps.mkdir()
    (hook / "sitecustomize.py").write_text(HOOK.read_text())
    # in a file: an environment that held the marks would be a way of theirs
    (hook / "marks.json").write_text(json.dumps([RECEIVED, SENT]))
    traced = {"PYTHONPATH": str(hook), "WALK_STEPS": str(steps)}
    async with StandIn() as standin, Receiver() as receiver:
        daemon = DaemonProcess(folder, settings(standin, receiver.url, folder, port=0) | traced)
        await daemon.start()
        try:
            async with asyncio.timeout(DEADLINE):
                await _talk(standin, receiver, await daemon.ready())
        finally:
            await daemon.stop()
    return walks(read(steps))


async def _talk(standin: StandIn, receiver: Receiver, api: ApiClient) -> None:
    async def call(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return await asyncio.to_thread(api.call, method, path, body)

    await call("POST", "/api/sessions", {"session_id": SESSION, "workspace_id": 1})
    code = await call("GET", f"/api/sessions/{SESSION}/qr?wait=60")
    standin.phone.scan(code["raw"], phone=PHONE)
    await receiver.wait_for("session_ready", after=0)
    standin.phone.incoming(phone=PHONE, from_=FRIEND, body=RECEIVED)
    await receiver.wait_for("message_received", after=0)
    message = {"session_id": SESSION, "recipient_phone": FRIEND, "message": SENT, "type": "text"}
    await call("POST", "/api/messages/send", message)
    await receiver.wait_for("message_sent", after=0)


def main() -> int:
    """Print the figures; ``--list`` prints each step, too."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--list", action="store_true", help="each function in order, with what it was handed"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="waguard-walk-") as folder:
        found = asyncio.run(trace(Path(folder)))
    for walk in found:
        if arguments.list:
            for step in walk.steps:
                sys.stdout.write(f"  {step.file}: {step.function} ({', '.join(step.forms)})\n")
        sys.stdout.write(walk.line() + os.linesep)
    return 0


if __name__ == "__main__":
    sys.exit(main())
