"""What ``waguard demo`` and ``waguard chaos`` share: a daemon on the stand-in, and the application.

The daemon is the real one, run as its own process in a folder of its own; who rehearses is a client
of it like any other.
"""

import asyncio
import hashlib
import hmac
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from aiohttp import web
from msgspec import Struct, field

from waguard.cli.client import ApiCallError, ApiClient
from waguard.errors import WaguardError
from waguard.host.configuration_file import VARIABLE
from waguard.host.files.lock import read_pid_file
from waguard.lab.standin import StandIn

SECRET: Final = "the secret of the harness"  # noqa: S105 - it signs what never leaves this machine
START_DEADLINE: Final = 60.0  # s
POLL: Final = 0.05  # s; that a daemon is up has no event for whoever started it

T = TypeVar("T")


class NotStartedError(WaguardError):
    """The daemon ended, or did not become ready."""


class Receiver(Struct):
    """Takes webhooks, checks their signature, wakes who waits. It is no double of the application."""

    received: list[dict[str, Any]] = field(default_factory=list)
    """Bodies, each with its ``event_id`` and ``taken_at`` (unix time)."""
    port: int = 0
    _runner: web.AppRunner | None = None
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=32 << 20)
        app.router.add_post("/webhook", self._on_request)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._runner  # noqa: S101 - entered
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where it takes webhooks."""
        return f"http://127.0.0.1:{self.port}/webhook"

    async def _on_request(self, request: web.Request) -> web.Response:
        body = await request.read()
        stamp = request.headers.get("X-Timestamp", "")
        wanted = hmac.new(SECRET.encode(), stamp.encode() + body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(wanted, request.headers.get("X-HMAC-Signature", "")):
            return web.json_response({"error": "bad signature"}, status=401)
        event_id = request.headers.get("X-Waguard-Event-Id", "")
        self.received.append(json.loads(body) | {"event_id": event_id, "taken_at": time.time()})
        self._news.set()
        return web.json_response({})

    async def until(self, find: Callable[[Sequence[dict[str, Any]]], T | None]) -> T:
        """Search all that was received, now and at each delivery, until there is something."""
        while True:
            self._news.clear()
            found = find(self.received)
            if found is not None:
                return found
            await self._news.wait()

    async def wait_for(self, event: str, *, after: int) -> dict[str, Any]:
        """The data of the first ``event`` among those received since ``after``."""

        def find(received: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
            fitting = (d["data"] for d in received[after:] if d["event"] == event)
            return next(fitting, None)

        return await self.until(find)


def settings(standin: StandIn, hook: str, folder: Path, *, port: int) -> dict[str, str]:
    """The environment of a daemon in ``folder``, on the stand-in, with its webhooks to ``hook``."""
    secret = folder / "webhook-secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    config = folder / "waguard.toml"  # or it finds this machine's
    config.touch()
    return {
        VARIABLE: str(config),
        "WAGUARD_API__PORT": str(port),
        "WAGUARD_WHATSAPP__URL": standin.url,
        "WAGUARD_BROWSER__EXTRA_ARGS": json.dumps(list(standin.browser_args)),
        "WAGUARD_BROWSER__SANDBOX": json.dumps(os.geteuid() != 0),
        "WAGUARD_FLEET__NETWORK": "off",  # the stand-in is on this host
        "WAGUARD_WEBHOOK__URL": hook,
        "WAGUARD_WEBHOOK__SECRET_FILE": str(secret),
    }


class DaemonProcess:
    """The daemons of one folder, one after the other."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.log = folder / "waguard.log"
        self._state = Path(environment.get("WAGUARD_PATHS__STATE", folder / "state"))
        self._environment = dict(environment)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The pid of the newest daemon; it may be gone."""
        if self._process is None:
            raise NotStartedError("no daemon was started yet")
        return self._process.pid

    async def start(self, changes: Mapping[str, str] | None = None) -> None:
        """Run one, with ``changes`` to its environment; it is not ready yet."""
        self._process = await self._run(changes or {})

    async def second(self, changes: Mapping[str, str] | None = None) -> int:
        """Run another one beside it: the exit code of the one that is refused."""
        return await (await self._run(changes or {})).wait()

    async def _run(self, changes: Mapping[str, str]) -> asyncio.subprocess.Process:
        with self.log.open("ab") as out:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "waguard", "run"),
                cwd=self.folder,
                env=os.environ | self._environment | dict(changes),
                stdout=out,
                stderr=out,
                start_new_session=True,  # Ctrl-C is for who rehearses, and then stops the daemon
            )

    async def ready(self, *, within: float = START_DEADLINE) -> ApiClient:
        """Wait until its sessions are restored. Raises ``NotStartedError`` with its last lines."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline and self._process and self._process.returncode is None:
            client = self.client()
            if client:
                try:
                    await asyncio.to_thread(client.call, "GET", "/health/ready")
                except ApiCallError:
                    pass
                else:
                    return client
            await asyncio.sleep(POLL)
        raise NotStartedError("the daemon did not start:\n" + "\n".join(self.lines()[-15:]))

    def client(self) -> ApiClient | None:
        """The API of the newest one, as soon as it has one; it need not answer yet."""
        holder, key_file = read_pid_file(self.folder / "run"), self._state / "api-key"
        if holder is None or holder.pid != self.pid or not key_file.exists():
            return None
        return ApiClient(holder.api, key_file.read_text().split()[-1])

    def lines(self) -> list[str]:
        """What was logged so far."""
        return self.log.read_text(errors="replace").splitlines()

    def signal(self, number: signal.Signals) -> None:
        """To the newest one, when it lives."""
        if self._process and self._process.returncode is None:
            self._process.send_signal(number)

    async def wait(self) -> int:
        """Wait for the daemon's end; its exit code."""
        return await self._process.wait() if self._process else 0

    async def stop(self) -> int:
        """End it as Ctrl-C does; its exit code."""
        self.signal(signal.SIGINT)
        return await self.wait()
