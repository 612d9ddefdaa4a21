"""A host that is well: real files, a real database, a real receiver, a daemon that answers; only the
machine itself (memory, disks, clock, systemd, Chromium) is a double."""

import atexit
import fcntl
import functools
import json
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiosqlite
from aiohttp import web

from tests.profile.leveldb_files import INDEXED, LOCAL, batch, log, profile
from tests.store import template
from waguard.cli.program import parser
from waguard.core.host.admission import Reading
from waguard.core.host.strays import Seen
from waguard.core.replace import replace
from waguard.doctor.checks.host import Space
from waguard.doctor.examination import examine
from waguard.doctor.probes.machine import Machine, Ran, Running
from waguard.doctor.report import Check
from waguard.doctor.timings import Timings
from waguard.host.files import lock
from waguard.profile import layout, owner_mark, snapshots
from waguard.profile.layout import Places
from waguard.profile.lock import ProfileLock

SHIPPED = Path(__file__).parents[2] / "systemd/waguard.service"
TRIED = {"version": "156.0.8078.79", "started": True, "seconds": 0.6, "sandboxed": True}
STATE = "ActiveState=active\nResult=success\nNeedDaemonReload=no\nUnitFileState=enabled\n"
KEY = "a-key-of-more-than-16-characters"


class FakeMachine(Machine):
    """Says what it is told."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, system_file=Path("/nowhere/waguard.toml"))
        self.reading = Reading(memory=4 << 30, pressure=0.0, pids=9_000)
        self.disk: Space | None = Space(free=50 << 30, inodes=10**6, inodes_free=9 * 10**5)
        self.files = 65_536
        self.shm: int | None = 1 << 30
        self.systemd = 257
        self.tried: Mapping[str, Any] | str = TRIED
        self.state = STATE
        self.settings: dict[str, str] = {}
        self.follows: bool | None = True
        self.foreign: list[Seen] = []
        self.running: list[Running] = []
        self.ports: dict[int, list[int]] = {}
        self.theirs: dict[str, str] = {}
        self.own: set[int] = set()
        self.missing: set[str] = set()

    command = "waguard"

    def spared(self, pid: int) -> bool:
        return pid in self.own

    def age(self, pid: int | None) -> float | None:
        return 3_600.0

    def has(self, program: str) -> bool:
        return program not in self.missing

    def environment(self, pid: int) -> dict[str, str]:
        return self.theirs

    def processes(self) -> list[Running]:
        return self.running

    def unsupervised(self) -> list[Seen]:
        return self.foreign

    def listeners(self, port: int) -> list[int]:
        return self.ports.get(port, [])

    def left(self, pid: int | None) -> Reading:
        return self.reading

    def open_files(self, pid: int | None) -> int | None:
        return self.files

    def shared_memory(self) -> int | None:
        return self.shm

    def space(self, folder: Path) -> Space | None:
        return self.disk

    def synchronized(self) -> bool | None:
        return self.follows

    def sysctl(self, name: str) -> str | None:
        return self.settings.get(name)

    async def run(
        self, argv: Sequence[str], *, within: float, user: tuple[int, int] | None = None
    ) -> Ran:
        if argv[0] == "systemctl":
            version = f"systemd {self.systemd} (its own)\n"
            return Ran(code=0, out=version if "--version" in argv else self.state)
        if isinstance(self.tried, str):
            return Ran(code=1, error=self.tried)
        return Ran(code=0, out=json.dumps(self.tried))


@dataclass
class Application:
    """What it answers at which path; the receiver's and the daemon's are two of these."""

    answers: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    once: dict[str, Any] = field(default_factory=dict)
    """What it answers the first time."""

    async def serve(self, request: web.Request) -> web.Response:
        answer = self.once.pop(request.path, self.answers.get(request.path))
        status = 404 if answer is None else self.status
        headers = self.headers if 300 <= status < 400 or "Date" in self.headers else {}
        return web.json_response(answer, status=status, headers=headers)

    @asynccontextmanager
    async def on(self, where: Path | None = None) -> AsyncIterator[int]:
        """Serve on a Unix socket, or on a free port, which is yielded."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.serve)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site: web.BaseSite = (
            web.UnixSite(runner, str(where)) if where else web.TCPSite(runner, "127.0.0.1", 0)
        )
        await site.start()
        try:
            yield 0 if where else runner.addresses[0][1]
        finally:
            await runner.cleanup()


HOOK = "/api/whatsapp/webhooks/webjs"


@dataclass
class Host:
    """What lies and runs there. A test changes it before it examines it."""

    folder: Path
    machine: FakeMachine
    receiver: Application
    daemon: Application
    port: int
    hook: int
    stack: AsyncExitStack
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    timings: Timings = Timings(again=0.0, begins=0.0)  # noqa: RUF009 - it is frozen
    lock: int | None = None

    @property
    def file(self) -> Path:
        return self.folder / "waguard.toml"

    @property
    def runtime(self) -> Path:
        return self.folder / "run"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def sessions(self) -> Path:
        return self.folder / "sessions"

    @property
    def database(self) -> Path:
        return self.state / "waguard.db"

    @property
    def unit(self) -> Path:
        return self.machine.root / "etc/systemd/system/waguard.service"

    def at(self, session: str = "s1") -> Places:
        return layout.places(self.sessions, 1, session)

    def configure(self, section: str, **keys: object) -> None:
        """Write the configuration again, with these keys."""
        self.settings.setdefault(section, {}).update(keys)
        lines = []
        for name, given in self.settings.items():
            lines.append(f"[{name}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in given.items()]
        self.file.write_text("\n".join(lines) + "\n")

    async def sql(self, *statements: str) -> None:
        async with aiosqlite.connect(self.database) as connection:
            await connection.execute("PRAGMA synchronous=OFF")  # nobody pulls the plug
            for statement in statements:
                await connection.execute(statement)
            await connection.commit()

    def die(self) -> None:
        """As after kill -9: the lock is free, its files are there."""
        assert self.lock is not None
        os.close(self.lock)
        self.lock = None
        path = self.runtime / "waguard.pid"
        answer = json.loads(path.read_text())
        path.write_text(json.dumps(answer | {"pid": 4_000_000}))

    async def stop(self) -> None:
        """In order: nothing is left."""
        self.die()
        await self.stack.aclose()
        (self.runtime / "waguard.pid").unlink()
        self.machine.ports.clear()

    async def examine(self) -> list[Check]:
        return await examine(self.file, self.environ, self.machine, self.timings)

    async def wrong(self) -> list[Check]:
        """All that is not ok."""
        return [check for check in await self.examine() if check.result != "ok"]


GOOD: Final = {
    "revision": 1022,
    "status": "good",
    "since": datetime.now(UTC).isoformat(),
    "stored": True,
}
"""A version that works."""


@asynccontextmanager
async def healthy(folder: Path) -> AsyncIterator[Host]:
    """A host on which nothing is wrong, with one session that is connected."""
    for name in ("run", "state", "sessions"):
        (folder / name).mkdir(mode=0o700)
    for name, text in (("api-key", KEY), ("secret", "the-secret-of-the-application")):
        (folder / "state" / name).touch(mode=0o600)
        (folder / "state" / name).write_text(text + "\n")
    health = {"status": "healthy", "uptime": 60.0, "sessions": {"total": 1, "connected": 1}}
    receiver = Application({HOOK: {}, "/": {}})
    daemon = Application(
        {
            "/health": health,
            "/health/live": {"status": "alive"},
            "/health/detailed": health | {"problems": [], "conditions": []},
            "/api/reconcile": {"success": True, "corrections": [], "findings": []},
            "/api/webhooks/dead": {"success": True, "dead": []},
            "/api/versions": {"success": True, "versions": [GOOD]},
        }
    )
    async with AsyncExitStack() as outer:
        inner = await outer.enter_async_context(AsyncExitStack())
        hook = await outer.enter_async_context(receiver.on())
        port = await inner.enter_async_context(daemon.on())
        await inner.enter_async_context(daemon.on(folder / "run/waguard.sock"))
        host = Host(folder, FakeMachine(folder / "root"), receiver, daemon, port, hook, inner)
        host.machine.ports[port] = [os.getpid()]
        host.configure("api", port=port)
        host.configure("webhook", url=f"http://127.0.0.1:{hook}{HOOK}", secret_file="state/secret")
        host.configure("whatsapp", url=f"http://127.0.0.1:{hook}/")
        host.configure("browser", executable=_executable(folder))
        host.unit.parent.mkdir(parents=True)
        host.unit.write_text(SHIPPED.read_text())
        _begin(host)
        await _fill(host)
        try:
            yield host
        finally:
            if host.lock is not None:
                os.close(host.lock)


def _executable(folder: Path) -> str:
    path = folder / "chromium"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def _begin(host: Host) -> None:
    """Lock and pid file, as the daemon has them."""
    held = lock.acquire(host.runtime)
    held.publish(f"http://127.0.0.1:{host.port}")
    host.lock = os.open(host.runtime / "waguard.lock", os.O_RDWR)
    held_by_us = held._descriptor
    os.close(held_by_us)
    fcntl.flock(host.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


async def _fill(host: Host) -> None:
    """A session in the database, with its profile and a copy of that."""
    await template.copy_to(host.database)
    host.database.chmod(0o600)
    now = time.time()
    runtime = str(host.runtime.resolve())
    await host.sql(
        "INSERT INTO whatsapp_accounts (uuid, workspace_id, session_id, status, phone_number)"
        " VALUES ('u1', 1, 's1', 'connected', '6281')",
        "INSERT INTO waguard_lease (id, epoch, machine, runtime, host, pid, instance, taken_at,"
        f" renewed_at, lasts, renewed_every, released) VALUES (1, 1, 'm', '{runtime}', 'here',"
        f" {os.getpid()}, 'i', {now}, {now}, 75, 5, 0)",
    )
    shutil.copytree(_profiles(), host.sessions, dirs_exist_ok=True)


@functools.cache
def _profiles() -> Path:
    """``paths.sessions`` with the profile of s1 and a copy: made once, for a checksum takes its time."""
    folder = tempfile.TemporaryDirectory(prefix="wg-")
    atexit.register(folder.cleanup)
    at = layout.places(Path(folder.name), 1, "s1")
    at.profile.parent.mkdir(mode=0o700)
    profile(at.profile)
    at.profile.chmod(0o700)
    for name in (INDEXED, LOCAL):
        (at.profile / name / "000006.log").write_bytes(log(batch("credentials")))
    with ProfileLock(at.profile) as held:
        token = owner_mark.claim(at.profile, held.descriptor, after_pairing=True)
    snapshots.create(at.profile, at.snapshots, pairing=token, running=False, now=time.time())
    return Path(folder.name)


def foreign_process(host: Host, **marks: Any) -> Seen:
    """A process that somebody else started."""
    seen = Seen(
        pid=4_242,
        start_time=1,
        parent=1,
        user="other",
        command="chromium",
        profile=None,
        record=None,
    )
    return replace(seen, **marks)


PROGRAMS = frozenset(
    [
        "apt-get",
        "cat",
        "chmod",
        "chown",
        "cp",
        "crontab",
        "curl",
        "cut",
        "df",
        "echo",
        "etcdctl",
        "findmnt",
        "fuser",
        "grep",
        "head",
        "install",
        "journalctl",
        "kill",
        "ldd",
        "ls",
        "make",
        "mariadb",
        "mount",
        "mysql",
        "nc",
        "openssl",
        "php",
        "pm2",
        "ps",
        "psql",
        "readlink",
        "sed",
        "sha256sum",
        "sqlite3",
        "ss",
        "ssh",
        "sysctl",
        "systemctl",
        "test",
        "timedatectl",
        "top",
        "tr",
        "unset",
    ]
)


def require_runnable(command: str | None) -> None:
    """Each part of it is a program that such a host has, or a command of waguard's own."""
    lexer = shlex.shlex(command or "", posix=True, punctuation_chars="&|;")
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("&|;"):
            parts.append([])
        else:
            parts[-1].append(word)
    for words in filter(None, parts):
        if words[0] == "sudo":
            del words[: 3 if words[1].startswith("-") else 1]
        if words[0] != "waguard":
            assert words[0] in PROGRAMS, command
        elif words[1] != "--version":
            parser(words[1]).parse_args(words[1:])
