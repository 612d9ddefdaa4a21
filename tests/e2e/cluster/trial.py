"""Some daemons of one cluster on this machine, and a referee that knows processes and nothing else."""

import contextlib
import os
import secrets
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.e2e.browsers import SAMPLED_EVERY, Browsers
from tests.e2e.conftest import World
from tests.e2e.harness import Daemon, short_folder
from tests.ports import reserved_port
from waguard.host.process import procfs

LEASE: Final = 10.0  # s
SHARED: Final = 11.0  # s until all that changed is shared (``core.shipping.WITHIN``)
PATIENT: Final = 300.0  # s for what works
OWNED_WITHIN: Final = 15.0  # s from the end of a host


class Referee:
    """Samples all processes of Chromium in a thread: which sessions have a browser on which host."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders
        self.overlaps: list[str] = []
        self.seen = set[str]()
        self.longest = 0.0
        """Between two samples, in s."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="referee")

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Sample inside."""
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()

    def sees_none(self) -> bool:
        """Whether no Chromium lives now."""
        return not any(Browsers(self._folders).living())

    def _run(self) -> None:
        browsers, last = Browsers(self._folders), time.monotonic()
        while not self._over.wait(SAMPLED_EVERY):
            hosts = defaultdict[str, set[str]](set)
            for host, session in browsers.living():
                hosts[session].add(host)
            self.seen |= hosts.keys()
            for session, found in hosts.items():
                if len(found) > 1:
                    self.overlaps.append(f"{time.monotonic():.2f} s: {session} on {sorted(found)}")
            now = time.monotonic()
            self.longest, last = max(self.longest, now - last), now


class Trial:
    """The hosts h0, h1, …, with paired sessions s0, s1, …"""

    def __init__(self, world: World, hosts: Sequence[Daemon], url: str) -> None:
        self.world = world
        self.hosts = list(hosts)
        self.sessions: list[str] = []
        self.referee = Referee({f"h{n}": it.folder.resolve() for n, it in enumerate(hosts)})
        self._engine = create_async_engine(url, poolclass=NullPool)

    async def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Its rows."""
        async with self._engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(text(statement))]

    async def owners(self) -> dict[str, str | None]:
        """By the database: whose each session is."""
        rows = await self.query("SELECT session_id, host FROM waguard_owners ORDER BY session_id")
        return dict(rows)

    async def epochs(self) -> dict[str, int]:
        """The epoch of each session."""
        return dict(await self.query("SELECT session_id, epoch FROM waguard_owners"))

    async def of(self, host: Daemon) -> list[str]:
        """What a host owns."""
        name = f"h{self.hosts.index(host)}"
        return [session for session, owner in (await self.owners()).items() if owner == name]

    async def spread(self, *counts: int) -> None:
        """Pair so many sessions on each host."""
        for host, count in zip(self.hosts, counts, strict=True):
            for _ in range(count):
                name = f"s{len(self.sessions)}"
                await host.until(partial(self._is_created, host, name))
                await host.pair(self.world.standin, name, f"62811800{len(self.sessions):03}")
                self.sessions.append(name)
        await self.have_shared()

    async def _is_created(self, host: Daemon, session: str) -> bool:
        """After a try: on a busy machine the database may answer a claim too late, and the host says 503."""
        body = {"session_id": session, "workspace_id": 1}
        code, reply = await host.call("POST", "/api/sessions", body)
        assert code in {200, 201, 503}, reply
        return code != 503

    async def have_shared(self) -> None:
        """Wait until all that is there now is shared: what a host that dies has not shared yet is lost with it."""
        since = time.time()
        await self.hosts[0].until(lambda: self._have_shared(since), deadline=PATIENT)

    async def _have_shared(self, paired: float) -> bool:
        shared = await self.query("SELECT min(shipped_at), count(*) FROM waguard_credentials")
        oldest, count = shared[0]
        return count == len(self.sessions) and (oldest or 0.0) > 0 and time.time() > paired + SHARED

    async def workers(self, host: Daemon) -> dict[str, int | None]:
        """The pids of the workers of its sessions."""
        return {it: (await host.status(it))["worker_pid"] for it in await self.of(host)}

    async def all_owned_by(self, *hosts: Daemon, deadline: float = PATIENT) -> float:
        """Wait for it; the seconds that it took."""
        names = {f"h{self.hosts.index(it)}" for it in hosts}
        began = time.monotonic()

        async def are() -> bool:
            return set((await self.owners()).values()) <= names

        await hosts[0].until(are, deadline=deadline)
        return time.monotonic() - began

    async def all_connected(self) -> float:
        """Wait until each session is, on its owner; the seconds that it took."""
        began = time.monotonic()
        for session in self.sessions:

            async def is_connected(name: str = session) -> bool:
                owner = (await self.owners()).get(name)
                if owner is None:
                    return False
                host = self.hosts[int(owner.removeprefix("h"))]
                code, found = await host.call("GET", f"/api/sessions/{name}/status")
                return code == 200 and found["status"] == "connected"

            await self.hosts[-1].until(is_connected, deadline=PATIENT)
        return time.monotonic() - began

    def ends(self, host: Daemon) -> Counter[str]:
        """How its workers exited so far: the code of each."""
        lines = [line for line in host.log().splitlines() if "event=worker_exited" in line]
        return Counter(line.partition(" code=")[2].split()[0] for line in lines)

    def tree(self, host: Daemon) -> list[int]:
        """Every process of a host, its daemon first."""
        assert host.process
        folder = f"{host.folder}/".encode()
        pids = [host.process.pid]
        others = {it.process.pid for it in self.hosts if it.process}
        for pid in procfs.pids():
            try:
                path = Path(f"/proc/{pid}")
                known = (path / "environ").read_bytes() + (path / "cmdline").read_bytes()
            except OSError:
                continue
            if folder in known and pid not in {os.getpid(), *pids, *others}:
                pids.append(pid)
        return pids

    async def close(self) -> None:
        """Let the database go."""
        await self._engine.dispose()


def has_logged(host: Daemon, words: str) -> bool:
    """Whether a daemon in its folder has: pytest would compare a whole log with them for minutes."""
    return words in host.log()


def signal_all(pids: Sequence[int], number: signal.Signals) -> None:
    """Those that still live."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


@asynccontextmanager
async def trial(
    world: World,
    url: str,
    settings: Mapping[str, str],
    folder: Path,
    *,
    hosts: int,
    own: Callable[[Daemon], Mapping[str, str]] = lambda _: {},
) -> AsyncIterator[Trial]:
    """All daemons are ready. In the end no session ran twice at any time. ``own``: further settings of a host."""
    key = folder / "shared-key"
    key.write_text(secrets.token_hex(32))
    key.chmod(0o600)
    async with AsyncExitStack() as stack:
        daemons = [world.daemon]
        for _ in range(hosts - 1):
            place = stack.enter_context(short_folder())
            daemons.append(await stack.enter_async_context(Daemon(place, world.daemon.settings)))
        for number, daemon in enumerate(daemons):
            port = stack.enter_context(reserved_port())
            daemon.settings = {
                **daemon.settings,
                "WAGUARD_DATABASE__URL": url,
                "WAGUARD_API__PORT": str(port),
                "WAGUARD_CLUSTER__HOST": f"h{number}",
                "WAGUARD_CLUSTER__ADDRESS": f"http://127.0.0.1:{port}",
                "WAGUARD_CLUSTER__KEY_FILE": str(key),
                "WAGUARD_CLUSTER__LEASE": str(LEASE),
                "WAGUARD_CLUSTER__MAX_SESSIONS": "20",
                **settings,
                **own(daemon),
            }
            await daemon.start(deadline=PATIENT)
        made = Trial(world, daemons, url)
        stack.push_async_callback(made.close)
        try:
            with made.referee.watching():
                yield made
        finally:
            for daemon in daemons:
                print(f"== {daemon.folder}: {made.ends(daemon)}")
        assert made.referee.seen >= {*made.sessions}, "who sees no browser sees no overlap"
        assert made.referee.overlaps == []
        print(f"overlap 0 ms, samples at most {1000 * made.referee.longest:.0f} ms apart")
