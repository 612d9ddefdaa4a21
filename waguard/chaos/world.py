"""What is broken: a stand-in, a daemon with its sessions, the application; and what is seen of them.

The campaign is what systemd is elsewhere: it starts a daemon that has gone, and ends one that hangs.
And it is the person with the phone, who scans a code after an unlink. Nothing else is done by hand.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from waguard.chaos.invariants import Facts, Harm, Incident, Told
from waguard.chaos.processes import MARK, Census, census, scan
from waguard.client import ApiCallError
from waguard.errors import WaguardError
from waguard.host import credentials, profiles, snapshots
from waguard.host.credentials import Places
from waguard.rehearsal import DaemonProcess, Receiver, settings
from waguard.standin import Policy, StandIn
from waguard.standin.refusal import Refusal

WORKSPACE: Final = 1
FRIEND: Final = "6281190000"
POLL: Final = 0.2  # s
CALL_DEADLINE: Final = 20.0  # s
PAIR_DEADLINE: Final = 60.0  # s
END_GRACE: Final = 30.0  # s for a daemon to end in order
DISK_SIZE: Final = "1g"  # holds some profiles of 20 MB; takes only what is written
DATABASE: Final = ("waguard.db", "waguard.db-wal", "waguard.db-shm")

T = TypeVar("T")


class NotInTimeError(WaguardError):
    """Something that a fault needs did not happen."""


class World:
    """See ``opened``."""

    def __init__(
        self,
        folder: Path,
        standin: StandIn,
        receiver: Receiver,
        daemon: DaemonProcess,
        phones: Mapping[str, str],
        *,
        disk: Path | None,
        port: int,
    ) -> None:
        """``disk``: a file system of its own that holds profiles and database; None: there is none."""
        self.folder = folder
        self.standin = standin
        self.receiver = receiver
        self.daemon = daemon
        self.phones = phones
        """Phone number by session."""
        self.disk = disk
        self.port = port
        self._paths = disk or folder
        self.daemon_ends: list[float] = []
        """Unix times."""
        self._groups: set[int] = set()
        self._scanned: set[str] = set()

    @property
    def sessions(self) -> tuple[str, ...]:
        """Their ids."""
        return tuple(self.phones)

    def at(self, session: str) -> Places:
        """Where its profile and its copies lie."""
        return credentials.places(self._paths / "sessions", WORKSPACE, session)

    def has_copy(self, session: str) -> bool:
        """Whether there is a snapshot of its pairing."""
        at = self.at(session)
        pairing = credentials.pairing(at.profile)
        return any(s.intact and s.pairing == pairing for s in snapshots.known(at.snapshots))

    # ---- what is seen ----

    async def census(self) -> Census:
        """The processes of the moment."""
        owners = {str(self.at(session).profile): session for session in self.sessions}
        for session in self.sessions:
            temporary = profiles.temporary(self.folder / "run", profiles.key(session))
            owners[str(temporary / "crashes")] = session
        seen = census(await asyncio.to_thread(scan), self.folder, owners, self._groups)
        # what a dead browser leaves may tell nothing of itself but its group
        self._groups |= {pid for pids in seen.browsers.values() for pid in pids}
        return seen

    async def facts(self, harm: Harm, *, since: int) -> Facts:
        """Everything that can be judged; ``since``: webhooks that were received before the harm."""
        rows, told = await asyncio.to_thread(self._rows), await self._told()
        aside = await asyncio.to_thread(self._moved_aside, harm.began)
        incidents = {s: await self._incidents(s) for s in harm.hurt | aside if told}
        codes = [
            delivery["data"]["session_id"]
            for delivery in self.receiver.received[since:]
            if delivery["event"] == "qr_code_generated"
        ]
        return Facts(
            sessions=self.sessions,
            rows=rows,
            told=told,
            census=await self.census(),
            incidents=incidents,
            aside=aside,
            codes={session: codes.count(session) for session in set(codes)},
        )

    def _moved_aside(self, since: float) -> frozenset[str]:
        copies = credentials.quarantined(self._paths / "sessions")
        return frozenset(c.session.rpartition("/")[2] for c in copies if c.at >= since)

    def _rows(self) -> dict[str, str] | None:
        try:
            with self.database(write=False) as connection:
                found = connection.execute("SELECT session_id, status FROM whatsapp_accounts")
                return dict(found.fetchall())
        except sqlite3.Error:
            return None

    async def _told(self) -> dict[str, Told] | None:
        try:
            return {session: await self.told(session) for session in self.sessions}
        except WaguardError:
            return None

    async def _incidents(self, session: str) -> tuple[Incident, ...]:
        try:
            told = await self.call("GET", f"/api/sessions/{session}/incidents")
        except WaguardError:
            return ()
        return tuple(
            Incident(
                datetime.fromisoformat(one["began"]).timestamp(),
                datetime.fromisoformat(one["ended"]).timestamp() if one["ended"] else None,
            )
            for one in told["incidents"]
        )

    async def told(self, session: str) -> Told:
        """What the API says of it; raises where it does not answer."""
        view = await self.call("GET", f"/api/sessions/{session}/status")
        return Told(
            status=view["status"],
            lifecycle=view["lifecycle"],
            link=view["link"],
            worker=view["worker_pid"],
            browser=view["browser_pid"],
        )

    # ---- the application ----

    async def call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        within: float = CALL_DEADLINE,
    ) -> Any:
        """An API call that does not block the stand-in, which lives on this loop."""
        client = self.daemon.client()
        if client is None:
            raise ApiCallError("no daemon listens", answered=0)
        return await asyncio.to_thread(client.call, method, path, body, timeout=within)

    async def send(self, session: str, text: str) -> list[dict[str, Any]]:
        """Send it by the API; the messages with this text that reached the phone's side."""
        body = {"session_id": session, "recipient_phone": FRIEND, "message": text, "type": "text"}
        await self.call("POST", "/api/messages/send", body, within=60.0)
        return [m for m in self.standin.phone.messages(self.phones[session]) if m["body"] == text]

    def incoming(self, session: str, text: str, *, friend: str = FRIEND) -> tuple[str, str]:
        """A message from a friend; session and text, as ``Harm.arrived`` has them."""
        self.standin.phone.incoming(phone=self.phones[session], from_=friend, body=text)
        return session, text

    def delivered(self, session: str, text: str) -> int:
        """How often the application was told of it."""
        return sum(
            delivery["event"] == "message_received"
            and delivery["data"]["session_id"] == session
            and delivery["data"]["message"]["body"] == text
            for delivery in self.receiver.received
        )

    async def scan_if_shown(self, session: str) -> None:
        """The person scans the code of the moment, if there is one."""
        with contextlib.suppress(ApiCallError, Refusal):
            code = (await self.call("GET", f"/api/sessions/{session}/qr"))["raw"]
            if code not in self._scanned:
                self._scanned.add(code)
                self.standin.phone.scan(code, phone=self.phones[session])

    def soothe(self) -> None:
        """WhatsApp is well again."""
        self.standin.policy.update({"slow_modules": 0.0})

    # ---- the service manager ----

    async def restart_daemon(self) -> None:
        """One that has ended is started again; it is not ready yet."""
        await self.daemon.wait()
        self.daemon_ends.append(time.time())
        await self.daemon.start()

    async def stop_daemon(self) -> None:
        """``systemctl stop``: in order. Raises where it does not end."""
        self.daemon.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(END_GRACE):
                await self.daemon.wait()
        except TimeoutError:
            raise NotInTimeError(f"the daemon did not end within {END_GRACE:g} s") from None

    # ---- the database, past waguard ----

    @contextlib.contextmanager
    def database(self, *, write: bool = True) -> Iterator[sqlite3.Connection]:
        """A connection of one's own, as the application has one."""
        path = self.database_files[0]
        mode = "rw" if write else "ro"
        connection = sqlite3.connect(
            f"file:{path}?mode={mode}", uri=True, timeout=10.0, isolation_level=None
        )
        try:
            yield connection
        finally:
            connection.close()

    @property
    def database_files(self) -> list[Path]:
        """The file and its two companions, which may not be there."""
        return [self._paths / "state" / name for name in DATABASE]

    # ---- the end ----

    async def end(self) -> None:
        """Leave no process behind, in whatever state they are."""
        seen = await self.census()
        _signal_all(seen.stopped, signal.SIGCONT)
        with contextlib.suppress(NotInTimeError):
            await self.stop_daemon()
        self.daemon.signal(signal.SIGKILL)
        await self.daemon.wait()
        while left := (await self.census()).all:
            _signal_all(left, signal.SIGKILL)
            await asyncio.sleep(POLL)


def _signal_all(pids: tuple[int, ...], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


async def until(look: Callable[[], Awaitable[T | None]], what: str, *, within: float) -> T:
    """Ask until there is something. Raises ``NotInTimeError``."""
    deadline = time.monotonic() + within
    while (found := await look()) is None or found is False:
        if time.monotonic() > deadline:
            raise NotInTimeError(f"not within {within:g} s: {what}")
        await asyncio.sleep(POLL)
    return found


@contextlib.asynccontextmanager
async def opened(sessions: int, *, say: Callable[[str], None]) -> AsyncIterator[World]:
    """A world with so many sessions, all connected and copied once; nothing of it is left after."""
    folder = Path(tempfile.mkdtemp(prefix="waguard-chaos-"))
    phones = {f"s{number}": f"62811800{number:02}" for number in range(1, sessions + 1)}
    try:
        with _disk(folder / "disk") as disk:
            async with StandIn(policy=Policy(sync=0.1)) as standin, Receiver() as receiver:
                port = _free_port()
                environment = settings(standin, receiver.url, folder, port=port)
                environment |= _impatient(folder, disk)
                daemon = DaemonProcess(folder, environment)
                world = World(folder, standin, receiver, daemon, phones, disk=disk, port=port)
                try:
                    await _populate(world, say)
                    yield world
                finally:
                    await world.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _impatient(folder: Path, disk: Path | None) -> dict[str, str]:
    """Settings that let a campaign go on: what is forgiven in minutes is forgiven in a second."""
    return {
        MARK: str(folder),
        "WAGUARD_LOG__LEVEL": "DEBUG",
        "WAGUARD_RECONCILE__INTERVAL": "3",
        "WAGUARD_RESTART__STABLE_AFTER": "1",
        "WAGUARD_SEND__TIMEOUT": "5",
        "WAGUARD_SEND__ACK_LIMIT": "3600",  # what was lost by intention is no trouble
        "WAGUARD_PATHS__SESSIONS": str((disk or folder) / "sessions"),
        "WAGUARD_PATHS__STATE": str((disk or folder) / "state"),
    }


async def _populate(world: World, say: Callable[[str], None]) -> None:
    say("the daemon starts")
    await world.daemon.start()
    await world.daemon.ready()
    for number, session in enumerate(world.sessions, 1):
        say(f"session {number} of {len(world.sessions)} is paired")
        body = {"session_id": session, "workspace_id": WORKSPACE}
        await world.call("POST", "/api/sessions", body)

        async def connected(session: str = session) -> bool:
            await world.scan_if_shown(session)
            return (await world.told(session)).link == "connected"

        await until(connected, f"{session} is connected", within=PAIR_DEADLINE)
    say("the daemon is started anew: an orderly stop leaves a copy of each session")
    await world.stop_daemon()
    await world.restart_daemon()
    await world.daemon.ready()


@contextlib.contextmanager
def _disk(mountpoint: Path) -> Iterator[Path | None]:
    """A small file system in memory while the body runs; None where that is not allowed."""
    mountpoint.mkdir()
    options = f"size={DISK_SIZE},mode=700"
    mounted = _ran("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(mountpoint))
    try:
        yield mountpoint if mounted else None
    finally:
        if mounted:
            _ran("umount", "-l", str(mountpoint))  # lazily: an open file does not keep it


def _ran(*command: str) -> bool:
    """Whether there is such a command and it went well."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603 - our own words
    except OSError:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
