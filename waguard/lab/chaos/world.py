"""What is broken: a stand-in, a daemon with its sessions, the application; and what is seen of them.

The campaign is what systemd is elsewhere: it starts a daemon that has gone, and ends one that hangs.
And it is the person with the phone, who scans a code after an unlink. Nothing else is done by hand.
"""

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import text as sql
from sqlalchemy.exc import SQLAlchemyError

from waguard.cli.client import ApiCallError
from waguard.errors import WaguardError
from waguard.lab.application import Application
from waguard.lab.application.tables import engine_of
from waguard.lab.chaos.invariants import Facts, Harm, Incident, ReportedSession
from waguard.lab.chaos.processes import Census, census, scan
from waguard.lab.harness import DaemonProcess, Receiver
from waguard.lab.standin import StandIn
from waguard.lab.standin.refusal import Refusal
from waguard.profile import layout, owner_mark, quarantine, snapshots
from waguard.profile.layout import Places

FRIEND: Final = "6281190000"
FRIENDS: Final = 5  # chats of a session
POLL: Final = 0.2  # s
CALL_DEADLINE: Final = 20.0  # s
END_GRACE: Final = 30.0  # s for a daemon to end in order
DATABASE: Final = ("waguard.db", "waguard.db-wal", "waguard.db-shm")
BROWSER: Final = "browser"  # a link in the folder of a world


T = TypeVar("T")


class NotInTimeError(WaguardError):
    """Something that a fault needs did not happen."""


class World:
    """See ``opened``."""

    def __init__(
        self,
        folder: Path,
        standin: StandIn,
        receiver: Receiver | Application,
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
        self.url = (
            receiver.database
            if isinstance(receiver, Application)
            else f"sqlite+aiosqlite:///{self.database_files[0]}"
        )
        """The database's."""
        self._engine = engine_of(self.url)
        self.daemon_kills: list[float] = []
        """Unix times."""
        self.quiet: set[str] = set()
        """Sessions that nobody writes to for the moment."""
        self.sealed: set[str] = set()
        """Texts that the browsers could not decrypt at first."""
        self.unstorable: set[str] = set()
        """Texts that no column of the application holds."""
        self.meanwhile: list[asyncio.Task[None]] = []
        """What goes on while a fault heals, and must have gone well in the end."""
        self._groups = frozenset[int]()
        self._scanned: set[str] = set()

    @property
    def sessions(self) -> tuple[str, ...]:
        """Their ids."""
        return tuple(self.phones)

    @property
    def on_sqlite(self) -> bool:
        """Whether the database is a file here."""
        return self.url.startswith("sqlite")

    @property
    def app(self) -> Application:
        """The double of the application, where there is one."""
        if not isinstance(self.receiver, Application):
            raise TypeError("this world has no double of the application")
        return self.receiver

    @property
    def executable(self) -> Path:
        """A link to Chromium: this daemon alone knows it by that."""
        return self.folder / BROWSER

    @property
    def records(self) -> Path:
        """Where the workers' records lie."""
        return self.folder / "run/workers"

    @property
    def profiles(self) -> Path:
        """``paths.sessions``."""
        return self._paths / "sessions"

    @property
    def state(self) -> Path:
        """``paths.state``."""
        return self._paths / "state"

    def at(self, session: str) -> Places:
        """Where its profile and its copies lie."""
        return layout.places(self.profiles, workspace_of(session), session)

    def has_copy(self, session: str) -> bool:
        """Whether there is a snapshot of its pairing."""
        at = self.at(session)
        pairing = owner_mark.pairing(at.profile)
        return any(s.intact and s.pairing == pairing for s in snapshots.known(at.snapshots))

    # ---- what is seen ----

    async def census(self) -> Census:
        """The processes of the moment."""
        owners = {str(self.at(session).profile): session for session in self.sessions}
        for session in self.sessions:
            temporary = layout.temporary(self.folder / "run", layout.key(session))
            owners[str(temporary / "crashes")] = session
        seen = census(await asyncio.to_thread(scan), self.folder, owners, self._groups)
        self._groups = seen.groups  # what a dead browser leaves may show nothing else of itself
        return seen

    async def facts(self, harm: Harm, *, since: int) -> Facts:
        """Everything that can be checked; ``since``: webhooks that were received before the harm."""
        seen = (
            await self.census()
        )  # first: who is reported to be back may have made room for another
        rows, reported = await self.rows(), await self._reported()
        quarantined = await asyncio.to_thread(self._quarantined, harm.began)
        incidents = {
            session: await self._incidents(f"/api/sessions/{session}/incidents")
            for session in harm.hurt | quarantined
            if reported
        }
        codes = [
            delivery["data"]["session_id"]
            for delivery in self.receiver.received[since:]
            if delivery["event"] == "qr_code_generated"
        ]
        return Facts(
            sessions=self.sessions,
            at=time.time(),
            rows=rows,
            reported=reported,
            census=seen,
            incidents=incidents,
            quarantined=quarantined,
            codes={session: codes.count(session) for session in set(codes)},
            fleet=await self._incidents("/api/incidents") if reported and harm.fleet else (),
        )

    def _quarantined(self, since: float) -> frozenset[str]:
        copies = quarantine.quarantined(self.profiles)
        return frozenset(c.session.rpartition("/")[2] for c in copies if c.at >= since)

    async def rows(self) -> dict[str, str] | None:
        """The status in each row; None: the database cannot be read."""
        try:
            found = await self.select("SELECT session_id, status FROM whatsapp_accounts")
        except SQLAlchemyError:
            return None
        return {session: status for session, status in found}  # noqa: C416 - these are rows, no pairs

    async def _reported(self) -> dict[str, ReportedSession] | None:
        try:
            return {session: await self.reported(session) for session in self.sessions}
        except WaguardError:
            return None

    async def _incidents(self, path: str) -> tuple[Incident, ...]:
        try:
            reported = await self.call("GET", path)
        except WaguardError:
            return ()
        return tuple(
            Incident(
                datetime.fromisoformat(one["began"]).timestamp(),
                datetime.fromisoformat(one["ended"]).timestamp() if one["ended"] else None,
                one["cause"],
            )
            for one in reported["incidents"]
        )

    async def reported(self, session: str) -> ReportedSession:
        """What the API says of it; raises where it does not answer."""
        view = await self.call("GET", f"/api/sessions/{session}/status")
        return ReportedSession(
            status=view["status"],
            lifecycle=view["lifecycle"],
            link=view["link"],
            worker=view["worker_pid"],
            browser=view["browser_pid"],
            restarts=view["restarts"],
            waits=view["waiting"] or "",
            conditions=frozenset(one["type"] for one in view["conditions"]),
            messages=tuple(one["message"] for one in view["conditions"]),
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
        return [
            m for m in self.standin.phone.messages(self.phones[session]) if m.get("body") == text
        ]

    def incoming(
        self, session: str, text: str, *, friend: str = FRIEND, **more: Any
    ) -> tuple[str, str]:
        """A message from a friend; session and text, as ``Harm.arrived`` has them."""
        self.standin.phone.incoming(phone=self.phones[session], from_=friend, body=text, **more)
        return session, text

    def write_on_phone(self, session: str, text: str, *, friend: str) -> None:
        """A message that the person writes on the phone itself. Raises ``Refusal``."""
        self.standin.whatsapp.linked(self.phones[session])
        self.standin.phone.write(friend, phone=self.phones[session], body=text)

    def seal(self, session: str, text: str, *, friend: str) -> str:
        """A message that its browser cannot decrypt: "Waiting for this message". Its id."""
        self.sealed.add(text)
        request = {"phone": self.phones[session], "from_": friend, "body": text, "sealed": "e2e"}
        return self.standin.phone.incoming(**request)["id"]

    def delivered(self, session: str, text: str) -> int:
        """How often the application stored it, or got it where there is no double."""
        if isinstance(self.receiver, Application):
            return self.receiver.records.bodies(session).count(text)
        return sum(
            delivery["event"] == "message_received"
            and delivery["data"]["session_id"] == session
            and delivery["data"]["message"]["body"] == text
            for delivery in self.receiver.received
        )

    def written(self, session: str) -> list[dict[str, Any]]:
        """What friends wrote to it, as WhatsApp's server has it, with their numbers: the oldest
        first."""
        phone = self.phones[session]
        lids = self.standin.whatsapp.lids_of(phone)
        return [
            one
            | {"id": lids.by_number(one["id"]), "from": lids.number_of(one["from"])}
            | {"body": one["body"] or one.get("caption", "")}
            for one in self.standin.phone.messages(phone)
            if one["direction"] == "in"
        ]

    async def scan_if_shown(self, session: str) -> None:
        """The person scans the code of the moment, if there is one."""
        with contextlib.suppress(ApiCallError, Refusal):
            code = (await self.call("GET", f"/api/sessions/{session}/qr"))["raw"]
            if code not in self._scanned:
                self._scanned.add(code)
                self.standin.phone.scan(code, phone=self.phones[session])

    def soothe(self) -> None:
        """WhatsApp works again, the application has its usual manners, and people write."""
        self.quiet.clear()
        for task in self.meanwhile:
            task.cancel()
        self.meanwhile.clear()
        self.standin.policy.update({"slow_modules": 0.0, "page": "ok"})
        if isinstance(self.receiver, Application):
            self.receiver.hooks.soothe()

    # ---- the service manager ----

    async def restart_daemon(self, changes: Mapping[str, str] | None = None) -> None:
        """One that has ended is started again, with ``changes`` to its environment; it is not ready
        yet."""
        if await self.daemon.wait() == -signal.SIGKILL:
            self.daemon_kills.append(time.time())
        await self.daemon.start(changes)

    async def stop_daemon(self) -> None:
        """``systemctl stop``: in order. Raises where it does not end."""
        self.daemon.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(END_GRACE):
                await self.daemon.wait()
        except TimeoutError:
            raise NotInTimeError(f"the daemon did not end within {END_GRACE:g} s") from None

    # ---- the database, past waguard ----

    async def select(self, query: str) -> list[tuple[Any, ...]]:
        """Read, whichever database it is. Raises ``SQLAlchemyError``."""
        async with self._engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(sql(query))]

    async def inbox(self, kind: str = "message") -> list[tuple[str, dict[str, Any]]]:
        """Session and message of each row, or the data of another ``kind``. Raises ``SQLAlchemyError``."""
        query = f"SELECT session_id, payload FROM waguard_inbox WHERE kind = '{kind}'"  # noqa: S608 - ours
        found = [(session, json.loads(payload)) for session, payload in await self.select(query)]
        return [(session, data.get("message", data)) for session, data in found]

    @contextlib.contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        """A connection of one's own to SQLite."""
        path = self.database_files[0]
        connection = sqlite3.connect(
            f"file:{path}?mode=rw", uri=True, timeout=10.0, isolation_level=None
        )
        try:
            yield connection
        finally:
            connection.close()

    @property
    def database_files(self) -> list[Path]:
        """The file and its two companions, which may not be there."""
        return [self.state / name for name in DATABASE]

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


def stem(message_id: str) -> str:
    """The part of an id that stays where the chat gets another one."""
    return message_id.split("_")[2]


def workspace_of(session: str) -> int:
    """Each has one of its own, as the application sends through the first account of a workspace."""
    return int(session.removeprefix("s"))


async def until(poll: Callable[[], Awaitable[T | None]], what: str, *, within: float) -> T:
    """Ask until there is something. Raises ``NotInTimeError``."""
    deadline = time.monotonic() + within
    while (found := await poll()) is None or found is False:
        if time.monotonic() > deadline:
            raise NotInTimeError(f"not within {within:g} s: {what}")
        await asyncio.sleep(POLL)
    return found
