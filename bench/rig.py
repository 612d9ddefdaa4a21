"""What is measured: the stand-in and the daemon as processes of their own, and what /proc says of them."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import aiohttp

from waguard.host.files.lock import read_pid_file
from waguard.host.process.executable import Flavour, find_executable
from waguard.worker.browser.arguments import ChromiumSpec, arguments
from waguard.worker.browser.identity import user_agent
from waguard.worker.browser.process import version_of
from waguard.worker.page import wajs

DEADLINE = 120.0  # s; nothing here takes that long unless it is broken
ASKED_EVERY = 0.005  # s
WAGUARD = (sys.executable, "-P", "-m", "waguard")


def environment(**more: str) -> dict[str, str]:
    """Ours, without what changes Python (compiled modules are kept, as in an installation) or waguard."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "WAGUARD"))}
    return kept | more


class StandIn:
    """The stand-in of WhatsApp Web; ``settings`` point a daemon at it, ``argv`` a bare Chromium."""

    def __init__(self, process: asyncio.subprocess.Process, addresses: dict[str, Any]) -> None:
        self._process = process
        self.phone: str = addresses["phone"]
        self.url: str = addresses["whatsapp"]["url"]
        self.browser_args: list[str] = addresses["browser"]["extra_args"]
        self.wajs = wajs.bundle(None)

    @classmethod
    @contextlib.asynccontextmanager
    async def run(cls) -> AsyncIterator[Self]:
        """Until the body ends."""
        process = await asyncio.create_subprocess_exec(
            *(*WAGUARD, "standin", "--port", "0", "--phone-port", "0"),
            env=environment(PYTHONUNBUFFERED="1"),
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdout
            said = [(await process.stdout.readline()).decode() for _ in range(3)]
            phone = said[2].rpartition(" ")[2].strip()
            yield cls(process, tomllib.loads("".join(said[:2])) | {"phone": phone})
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()

    async def scan(self, http: aiohttp.ClientSession, code: str, phone: str) -> None:
        """The phone scans a code."""
        async with http.post(f"{self.phone}/scan", json={"code": code, "phone": phone}) as answer:
            answer.raise_for_status()

    async def argv(self, flavour: Flavour, profile: Path, temporary: Path) -> list[str]:
        """The command line of a bare Chromium: the binary and the flags that waguard uses."""
        executable = find_executable(None, flavour)
        version = await version_of(executable, DEADLINE)
        assert version
        spec = ChromiumSpec(
            executable=executable,
            flavour=flavour,
            profile=profile,
            tmpdir=temporary,
            extra_args=tuple(self.browser_args),
            sandbox=os.getuid() != 0,
        )
        return arguments(spec, user_agent=user_agent(version).text)


class Daemon:
    """``waguard run`` in a folder, and a client of it that keeps its connection."""

    def __init__(
        self,
        folder: Path,
        standin: StandIn,
        http: aiohttp.ClientSession,
        command: tuple[str, ...] = (*WAGUARD, "run"),
    ) -> None:
        self.folder = folder
        self._command = command
        self.http = http
        self.settings: dict[str, str] = {
            "WAGUARD_API__PORT": "0",
            "WAGUARD_WHATSAPP__URL": standin.url,
            "WAGUARD_BROWSER__EXTRA_ARGS": json.dumps(standin.browser_args),
            "WAGUARD_BROWSER__SANDBOX": json.dumps(os.geteuid() != 0),
        }
        self._standin = standin
        self._process: asyncio.subprocess.Process | None = None
        self._base = ""
        self._key = ""

    async def __aenter__(self) -> Self:
        self.folder.mkdir(exist_ok=True)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    @property
    def pid(self) -> int:
        """The daemon's."""
        assert self._process
        return self._process.pid

    async def spawn(self, more: Mapping[str, str] | None = None) -> asyncio.subprocess.Process:
        """Start one more ``waguard run`` in this folder."""
        with (self.folder / "waguard.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *self._command,
                cwd=self.folder,
                env=environment(**self.settings, **(more or {})),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def start(self, more: Mapping[str, str] | None = None) -> None:
        """Run it until its API answers."""
        process = self._process = await self.spawn(more)
        async with asyncio.timeout(DEADLINE):
            while (holder := read_pid_file(self.folder / "run")) is None or (
                holder.pid != process.pid
            ):
                if process.returncode is not None:
                    raise RuntimeError((self.folder / "waguard.log").read_text())
                await asyncio.sleep(0.005)
            self._base = holder.api
            # its socket listens already: this waits until the daemon behind it serves
            async with self.http.get(f"{self._base}/health/live"):
                self._key = (self.folder / "state/api-key").read_text().split()[-1]

    async def ready(self) -> None:
        """Wait until its restore is through."""
        while True:
            async with self.request("GET", "/health/ready") as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """As the kernel does it."""
        assert self._process
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        """In order."""
        if self._process and self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(DEADLINE):
                    await self._process.wait()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """An aiohttp request, to be entered."""
        headers = {"X-Api-Key": self._key}
        return self.http.request(method, self._base + path, json=body, headers=headers)

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """A decoded answer; raises where it is an error."""
        async with self.request(method, path, body) as answer:
            answer.raise_for_status()
            return await answer.json()

    async def qr(self, session: str) -> str:
        """Create a session; its code, as soon as there is one."""
        await self.call("POST", "/api/sessions", {"session_id": session, "workspace_id": 1})
        while True:
            async with self.request("GET", f"/api/sessions/{session}/qr?wait=20") as answer:
                if answer.status == 200:
                    return str((await answer.json())["raw"])

    async def pair(self, phones: Mapping[str, str]) -> None:
        """Create sessions, scan their codes, wait until all are connected."""
        for session, phone in phones.items():
            await self._standin.scan(self.http, await self.qr(session), phone)
        await self.connected(phones)

    async def connected(self, sessions: Mapping[str, str]) -> None:
        """Wait until all are connected, told by the event stream: nothing is polled."""
        missing = set(sessions)
        async with asyncio.timeout(DEADLINE), self.request("GET", "/api/events") as stream:
            for session in sessions:
                if await self._connected(session):
                    missing.discard(session)
            while missing:
                line = (await stream.content.readline()).decode()
                if not line:
                    raise RuntimeError("the event stream ended")
                if line.startswith("data: "):
                    event = json.loads(line.removeprefix("data: "))
                    if event["event"] == "link" and event["data"]["to"] == "connected":
                        missing.discard(event["session_id"])

    async def adopted(self, sessions: Iterable[str]) -> None:
        """Wait until all are connected after an adoption, which is no event: it is asked for."""
        async with asyncio.timeout(DEADLINE):
            for session in sessions:
                while not await self._connected(session):
                    await asyncio.sleep(ASKED_EVERY)

    async def _connected(self, session: str) -> bool:
        async with self.request("GET", f"/api/sessions/{session}/status") as answer:
            return answer.status == 200 and bool((await answer.json())["link"] == "connected")

    async def pids(self, sessions: Mapping[str, str]) -> tuple[list[int], list[int]]:
        """The workers' and the browsers'."""
        reported = [
            await self.call("GET", f"/api/sessions/{session}/status") for session in sessions
        ]
        return [one["worker_pid"] for one in reported], [one["browser_pid"] for one in reported]

    def profile(self, session: str) -> Path:
        """Where it keeps a session's profile."""
        return self.folder / "sessions/workspace_1" / f"session-{session}"

    async def send(self, session: str, to: str, text: str) -> None:
        """By the API; raises where it was not acknowledged."""
        body = {"session_id": session, "recipient_phone": to, "message": text, "type": "text"}
        answer = await self.call("POST", "/api/messages/send", body)
        if not answer["success"]:
            raise RuntimeError(f"not sent: {answer}")


# ---- /proc ----


def _pids() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").glob("[0-9]*"))


def _text(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def children(pid: int) -> list[int]:
    """Processes that ``pid`` has started and that live."""
    fields = {p: _text(p, "stat").rpartition(")")[2].split() for p in _pids()}
    return [p for p, stat in fields.items() if stat and stat[0] != "Z" and int(stat[1]) == pid]


def tree(root: int) -> list[int]:
    """A process and all below it; for Chromium also its crash handlers, which leave the tree."""
    found = [root]
    for pid in found:
        found += children(pid)
    if mine := re.search(r"(?:^|\0)TMPDIR=([^\0]+)", _text(root, "environ")):
        handlers = [p for p in _pids() if "chrome_crashpad_handler" in _text(p, "cmdline")]
        found += [p for p in handlers if mine[0].strip("\0") in _text(p, "environ").split("\0")]
    return sorted(set(found))


def pss(pids: list[int]) -> float:
    """MB in memory, what is shared counted in shares."""
    found = (re.search(r"^Pss:\s+(\d+) kB", _text(p, "smaps_rollup"), re.MULTILINE) for p in pids)
    return sum(int(line[1]) for line in found if line) / 1024


def cpu(pids: list[int]) -> float:
    """Seconds of a core that they have used so far."""
    used = (_text(p, "stat").rpartition(")")[2].split() for p in pids)
    return sum(int(stat[11]) + int(stat[12]) for stat in used if stat) / os.sysconf("SC_CLK_TCK")


def left_behind(folder: Path) -> list[int]:
    """Processes that have to do with the folder, by command line, environment or where they run."""
    mine = str(folder)
    return [
        p
        for p in _pids()
        if p != os.getpid()
        and (mine in _text(p, "cmdline") or mine in _text(p, "environ") or mine in _cwd(p))
    ]


def _cwd(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return ""


async def in_a_folder(prefix: str, measure: Callable[[Path], Awaitable[None]]) -> int:
    """Measure in a folder of its own, which is removed; the exit code: 1 where processes are left."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    began = os.getloadavg()[0]
    if task := asyncio.current_task():  # whoever ends it leaves nothing behind
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await measure(folder)
    finally:
        left = await gone(folder, within=5.0)
        shutil.rmtree(folder, ignore_errors=True)
    print(f"load average {began:.1f} at the start, {os.getloadavg()[0]:.1f} at the end")
    if left:
        sys.stderr.write(f"processes left behind: {left}\n")
    return int(bool(left))


async def gone(folder: Path, *, within: float) -> list[int]:
    """Wait until nothing is left behind; what is."""
    until = time.monotonic() + within
    while (left := left_behind(folder)) and time.monotonic() < until:
        await asyncio.sleep(0.05)
    return left
