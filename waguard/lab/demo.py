"""``waguard demo``: a session's life in a minute, on the stand-in of WhatsApp Web.

The daemon is the real one, run as its own process (``lab/harness.py``); the demo is a client of it
like any other: it calls the API, receives webhooks and plays the phone.
"""

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from waguard.cli.client import ApiClient
from waguard.errors import WaguardError
from waguard.lab.harness import DaemonProcess, NotStartedError, Receiver, settings
from waguard.lab.standin import Policy, StandIn
from waguard.wire import qr

SESSION: Final = "demo"
PHONE: Final = "6281180001"
FRIEND: Final = "6281180002"
STEP_DEADLINE: Final = 60.0  # s


class StepFailedError(WaguardError):
    """A step of the tour did not come to its end."""


class Tour:
    """The steps, each timed and shown while it runs."""

    def __init__(
        self, console: Console, standin: StandIn, receiver: Receiver, api: ApiClient
    ) -> None:
        self._console = console
        self._standin = standin
        self._receiver = receiver
        self._api = api
        self.rows: list[tuple[str, str, float]] = []

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """An API call without blocking the stand-in, which lives on this loop."""
        return await asyncio.to_thread(self._api.call, method, path, body)

    async def step(self, title: str, work: Callable[[], Awaitable[str]]) -> None:
        """Run one step. Raises ``StepFailedError``."""
        began = time.monotonic()
        try:
            with self._console.status(title):
                async with asyncio.timeout(STEP_DEADLINE):
                    result = await work()
        except (WaguardError, TimeoutError) as error:
            why = (
                error.line()
                if isinstance(error, WaguardError)
                else f"nothing for {STEP_DEADLINE:g} s"
            )
            self.rows.append((title, f"failed: {why}", time.monotonic() - began))
            self._console.print(f"[red]✗[/] {title}: {why}")
            raise StepFailedError(f"{title}: {why}") from None
        self.rows.append((title, result, time.monotonic() - began))
        self._console.print(
            f"[green]✓[/] {title}: {result} [dim]({time.monotonic() - began:.2f} s)[/]"
        )

    async def run(self) -> None:
        """The whole tour."""
        await self.step("create a session", self._create)
        await self.step("its QR code", self._show_qr)
        await self.step("the phone scans it", self._scan)
        await self.step("send a message by the API", self._send)
        await self.step("receive one by webhook", self._receive)
        await self.step("kill its Chromium (SIGKILL)", self._kill_browser)
        await self.step("send again", self._send)

    async def _create(self) -> str:
        answer = await self.call(
            "POST", "/api/sessions", {"session_id": SESSION, "workspace_id": 1}
        )
        return str(answer["status"])

    async def _show_qr(self) -> str:
        self._code = await self.call("GET", f"/api/sessions/{SESSION}/qr?wait=30")
        self._console.print(qr.terminal(self._code["raw"]), highlight=False)
        return f"valid for {self._code['expires_in']} s"

    async def _scan(self) -> str:
        after = len(self._receiver.received)
        self._standin.phone.scan(self._code["raw"], phone=PHONE)
        ready = await self._receiver.wait_for("session_ready", after=after)
        return f"connected as {ready['phone_number']}"

    async def _send(self) -> str:
        body = {
            "session_id": SESSION,
            "recipient_phone": FRIEND,
            "message": "hello",
            "type": "text",
        }
        answer = await self.call("POST", "/api/messages/send", body)
        if not answer["success"]:
            raise StepFailedError(f"WhatsApp's answer was {answer}")
        return f"acknowledged by the server, {answer['message_id'][:32]}…"

    async def _receive(self) -> str:
        after = len(self._receiver.received)
        self._standin.phone.incoming(phone=PHONE, from_=FRIEND, body="hello yourself", name="Ani")
        data = await self._receiver.wait_for("message_received", after=after)
        message = data["message"]
        return f"“{message['body']}” from {message['sender_name']}, signature checked"

    async def _kill_browser(self) -> str:
        after = len(self._receiver.received)
        before = await self.call("GET", f"/api/sessions/{SESSION}/status")
        os.kill(before["browser_pid"], signal.SIGKILL)
        await self._receiver.wait_for("session_ready", after=after)
        now = await self.call("GET", f"/api/sessions/{SESSION}/status")
        return f"connected again, pid {before['browser_pid']} → {now['browser_pid']}, no QR needed"


def run(*, once: bool, port: int) -> int:
    """``once``: end after the tour. 0, or 1 where a step failed."""
    return asyncio.run(_run(once=once, port=port))


async def _run(*, once: bool, port: int) -> int:
    console = Console()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    folder = Path(tempfile.mkdtemp(prefix="waguard-demo-"))
    try:
        async with AsyncExitStack() as stack:  # its end is not cancelled: it waits for the daemon's
            tour = asyncio.create_task(_tour(console, stack, folder, port, once=once))
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait({tour, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if not tour.done():
                console.print("stopping …")
                tour.cancel()
                await asyncio.wait({tour})
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if tour.cancelled():
        return 130 if once else 0
    return tour.result()


async def _tour(
    console: Console, stack: AsyncExitStack, folder: Path, port: int, *, once: bool
) -> int:
    """``stack`` ends what is begun here."""
    try:
        standin = await stack.enter_async_context(StandIn(policy=Policy(sync=0.3)))
        receiver = await stack.enter_async_context(Receiver())
        console.print(f"stand-in of WhatsApp Web on loopback, its phone at {standin.phone_url}")
        daemon = DaemonProcess(folder, settings(standin, receiver.url, folder, port=port))
        stack.push_async_callback(daemon.stop)
        with console.status("starting the daemon"):
            await daemon.start()
            api = await daemon.ready()
        console.print(f"daemon at {api.base}")
        tour = Tour(console, standin, receiver, api)
        await tour.run()
    except (StepFailedError, NotStartedError) as error:
        console.print(f"[red]the tour failed:[/] {error.message}")
        return 1
    _print_table(console, tour.rows)
    if not once:
        console.print(
            f"\nIt stays up: {api.base}\nAPI key: {api.key}\nCtrl-C ends it and removes {folder}.",
            soft_wrap=True,
            highlight=False,
        )
        await asyncio.Event().wait()
    return 0


def _print_table(console: Console, rows: list[tuple[str, str, float]]) -> None:
    table = Table(title="What happened")
    table.add_column("step")
    table.add_column("result")
    table.add_column("seconds", justify="right")
    for title, result, seconds in rows:
        table.add_row(title, result, f"{seconds:.2f}")
    console.print(table)
