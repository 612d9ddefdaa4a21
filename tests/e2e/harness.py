"""The whole thing on real parts: a stand-in, the daemon as its own process, a webhook receiver."""

import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from tests.launcher import Launched, launcher
from tests.waiting import block_until
from waguard.core.webhooks.delivery import EVENTS
from waguard.host.files.lock import read_pid_file
from waguard.host.process import procfs
from waguard.lab.standin import StandIn

Process = asyncio.subprocess.Process | Launched
DEADLINE = 90.0  # s; nothing here waits that long unless it is broken
ENDING = 20.0  # s that a killed process may take to be gone
SECRET = b"a secret of the tests"


class Receiver:
    """The application: takes webhooks with a good signature, and can be told to fail."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.event_ids: list[str] = []
        """Of each that was received."""
        self.refusals: list[int] = []
        """Statuses to answer with, one a delivery, before it takes deliveries again."""
        self.instance_urls: set[str] = set()
        """What deliveries say that waguard is called by."""
        self._news = asyncio.Event()

    async def handle(self, request: web.Request) -> web.Response:
        """The route."""
        body = await request.read()
        if self.refusals:
            return web.Response(status=self.refusals.pop(0))
        stamp = request.headers["X-Timestamp"]
        wanted = hmac.new(SECRET, stamp.encode() + body, hashlib.sha256).hexdigest()
        if wanted != request.headers["X-HMAC-Signature"]:
            return web.Response(status=401)
        self.instance_urls.add(request.headers["X-Instance-Url"])
        self.received.append(json.loads(body))
        self.event_ids.append(request.headers["X-Waguard-Event-Id"])
        self._news.set()
        return web.Response()

    async def wait_for(
        self,
        event: str,
        *,
        after: int = 0,
        where: Callable[[dict[str, Any]], bool] = lambda _: True,
        within: float = DEADLINE,
    ) -> dict[str, Any]:
        """Data of the first such delivery."""
        async with asyncio.timeout(within):
            while True:
                self._news.clear()
                for delivery in self.received[after:]:
                    data: dict[str, Any] = delivery["data"]
                    if delivery["event"] == event and where(data):
                        return data
                await self._news.wait()

    def count(self, event: str) -> int:
        """How many were delivered."""
        return sum(delivery["event"] == event for delivery in self.received)


@dataclass
class Daemon:
    """One folder in which daemons run, one after the other."""

    folder: Path
    settings: Mapping[str, str]
    prefix: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    executed: bool = False
    """Run a fresh Python, as a service manager does: the launcher's daemons have another's environ."""
    process: Process | None = None
    base: str = ""
    key: str = ""
    http: aiohttp.ClientSession = field(init=False)

    async def __aenter__(self) -> Self:
        self.http = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()
        await self.http.close()
        # what a test killed may still be dying: that the daemon waits for its own is tested elsewhere
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDING):
                while self.left_behind():
                    await asyncio.sleep(0.02)
        left = self.left_behind()
        assert not left, f"processes left behind: {left}"

    async def start(self, *, ready: bool = True, deadline: float = DEADLINE) -> None:
        """Run it, and wait until it is ready."""
        await self.spawn()
        await self.is_up(ready=ready, deadline=deadline)

    async def spawn(self) -> Process:
        """Run it."""
        arguments = ("run", *self.arguments)
        environ = os.environ | dict(self.settings)
        with self.log_path.open("ab") as log:
            if not self.executed and not self.prefix:
                self.process = launcher().start(
                    arguments, folder=self.folder, environ=environ, log=log
                )
                return self.process
            self.process = await asyncio.create_subprocess_exec(
                *self.prefix,
                *(sys.executable, "-P", "-m", "waguard", *arguments),
                cwd=self.folder,
                env=environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self.process

    async def is_up(self, *, ready: bool = True, deadline: float = DEADLINE) -> None:
        """Wait until it is ready."""
        assert self.process
        async with asyncio.timeout(deadline):
            while (
                not (holder := read_pid_file(self.folder / "run"))
                or holder.pid != await self._pid()
            ):
                assert self.process.returncode is None, self.log()
                await asyncio.sleep(0.02)
            self.base = holder.api
            await self.until(lambda: self.answers("/health/live"), deadline=deadline)
            state = self.settings.get("WAGUARD_PATHS__STATE", self.folder / "state")
            self.key = (Path(state) / "api-key").read_text().split()[-1]
            if ready:
                await self.until(lambda: self.answers("/health/ready"), deadline=deadline)

    async def _pid(self) -> int:
        assert self.process
        return self.process.pid

    async def answers(self, path: str) -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            async with self.http.get(self.base + path) as response:
                return response.status == 200
        return False

    async def until(self, condition: Callable[[], Any], *, deadline: float = DEADLINE) -> Any:
        """Ask again until it is true; the value. Fails with the daemon's log."""
        try:
            async with asyncio.timeout(deadline):
                while not (value := await condition()):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(
                f"not within {deadline} s; the log:\n{self.log()[-6000:]}"
            ) from None
        return value

    async def logs(self, words: str, times: int = 1) -> None:
        """Wait until its log, of all daemons in this folder, has these words so often."""

        async def check() -> bool:
            return self.log().count(words) >= times

        await self.until(check)

    async def until_delivered(self) -> None:
        """Wait until each webhook is: one in flight at a kill is delivered again, by design."""

        async def check() -> bool:
            path = self.folder / "state/waguard.db"
            with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
                query = "SELECT count(*) FROM waguard_deliveries WHERE state = 'pending'"
                return bool(database.execute(query).fetchone() == (0,))

        await self.until(check)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int | None:
        """End it; its exit code."""
        if self.process is None:
            return None
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(DEADLINE):
            return await self.process.wait()

    @property
    def log_path(self) -> Path:
        """Where it logs."""
        return self.folder / "waguard.log"

    def log(self) -> str:
        """What it logged so far."""
        return self.log_path.read_text(errors="replace")

    def left_behind(self) -> list[str]:
        """Processes that still carry this folder in their command line."""
        mine = str(self.folder / "sessions")
        lines = [
            " ".join(procfs.command_line(int(path.name))) for path in Path("/proc").glob("[0-9]*")
        ]
        return [line for line in lines if mine in line]

    async def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, key: bool = True
    ) -> tuple[int, Any]:
        """Status and decoded body."""
        headers = {"X-Api-Key": self.key} if key else {}
        async with self.http.request(
            method, self.base + path, json=body, headers=headers
        ) as response:
            content = await response.read()
            if response.content_type == "application/json":
                return response.status, json.loads(content)
            return response.status, content

    async def metric(self, name: str, **labels: str) -> float | None:
        """The value in a scrape; None: it has none."""
        _, content = await self.call("GET", "/metrics")
        for family in text_string_to_metric_families(content.decode()):
            for sample in family.samples:
                if (sample.name, sample.labels) == (name, labels):
                    return sample.value
        return None

    async def status(self, session: str) -> dict[str, Any]:
        """A session's status as the API tells it."""
        code, reported = await self.call("GET", f"/api/sessions/{session}/status")
        assert code == 200, reported
        result: dict[str, Any] = reported
        return result

    async def wait_status(self, session: str, wanted: str, **more: Any) -> dict[str, Any]:
        """Wait until the session has this status (and these fields)."""

        async def check() -> dict[str, Any] | None:
            reported = await self.status(session)
            fits = reported["status"] == wanted and all(
                reported[key] == value for key, value in more.items()
            )
            return reported if fits else None

        result: dict[str, Any] = await self.until(check)
        return result

    async def create(self, session: str) -> str:
        """Create it; the text of its QR code."""
        code, reported = await self.call(
            "POST", "/api/sessions", {"session_id": session, "workspace_id": 1}
        )
        assert code in {200, 201}, reported
        return await self.qr(session)

    async def qr(self, session: str) -> str:
        """The text of its QR code."""

        async def check() -> str | None:
            code, reported = await self.call("GET", f"/api/sessions/{session}/qr?wait=20")
            return str(reported["raw"]) if code == 200 else None

        return str(await self.until(check))

    async def pair(self, standin: StandIn, session: str, phone: str) -> dict[str, Any]:
        """Create it, scan its code, wait until it is connected."""
        standin.phone.scan(await self.create(session), phone=phone)
        return await self.wait_status(session, "connected")

    async def send(self, session: str, to: str, text: str) -> tuple[int, Any]:
        """POST /api/messages/send."""
        body = {"session_id": session, "recipient_phone": to, "message": text, "type": "text"}
        return await self.call("POST", "/api/messages/send", body)


@contextlib.contextmanager
def suspended(pid: int) -> Iterator[None]:
    """While it is stopped, every thread of it."""
    os.kill(pid, signal.SIGSTOP)
    try:
        block_until(lambda: all(state == "T" for state in _states(pid)), "it stands still")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _states(pid: int) -> list[str]:
    stats = (path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat"))
    return [stat.rpartition(")")[2].split()[0] for stat in stats]


def removed(folder: Path) -> None:
    """At one go, as seen by who uses it: what is made anew meanwhile would stay, or be in the way."""
    gone = folder.with_name(f"{folder.name}.gone")
    folder.rename(gone)
    shutil.rmtree(gone)


def acknowledge(standin: StandIn, phone: str, message_id: str) -> None:
    """The server's ack of a send that ``Policy.never_answer`` kept without one."""
    (device,) = standin.whatsapp.devices[phone]
    assert device.page, "it is connected"
    device.page.send({"type": "server_ack", "id": message_id, "t": int(time.time())})


@contextlib.asynccontextmanager
async def receiving() -> AsyncIterator[tuple[Receiver, str]]:
    """A receiver and its address."""
    receiver = Receiver()
    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/hook", receiver.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield receiver, f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    finally:
        await runner.cleanup()


@contextlib.contextmanager
def short_folder(owner: int | None = None) -> Any:
    """A temporary folder whose path is short enough for sockets; given to uid ``owner``."""
    folder = Path(tempfile.mkdtemp(prefix="wg-e2e-"))
    if owner is not None:
        os.chown(folder, owner, owner)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def settings_for(standin: StandIn, hook: str, folder: Path, **more: str) -> dict[str, str]:
    """The daemon's environment."""
    secret = folder / "webhook-secret"
    secret.write_bytes(SECRET)
    secret.chmod(0o600)
    os.chown(secret, folder.stat().st_uid, folder.stat().st_gid)
    return {
        "WAGUARD_API__PORT": "0",
        "WAGUARD_WHATSAPP__URL": standin.url,
        "WAGUARD_BROWSER__EXTRA_ARGS": json.dumps(list(standin.browser_args)),
        "WAGUARD_BROWSER__SANDBOX": json.dumps(os.geteuid() != 0),
        "WAGUARD_FLEET__NETWORK": "off",  # the stand-in is on this host
        "WAGUARD_WEBHOOK__URL": hook,
        "WAGUARD_WEBHOOK__SECRET_FILE": str(secret),
        "WAGUARD_WEBHOOK__EVENTS": json.dumps(sorted(EVENTS)),
        "WAGUARD_LOG__LEVEL": "DEBUG",
        **more,
    }
