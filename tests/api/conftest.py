"""The API on a real socket, on scripted sessions, the real bus and a store in memory."""

import contextlib
import io
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from tests.api import described
from tests.api.fake_cluster import Pair, pair
from tests.api.fake_passkeys import FakePasskeys
from tests.api.fake_sessions import FakeSessions
from tests.api.fake_versions import FakeVersions
from tests.clocks import Clock
from tests.store import template
from tests.store.memory import Account, MemoryStore
from waguard.api import ApiDeps, create_app, serve
from waguard.api.auth import Keys
from waguard.api.deps import CALLER, Cluster
from waguard.api.intake import Intake
from waguard.api.key_table import IssuedKeys
from waguard.api.problems import Handler
from waguard.api.timings import Limits, Timings
from waguard.config.sections import Config, Level, Log
from waguard.core.keys import Caller
from waguard.core.lease import HeldElsewhere
from waguard.core.webhooks.delivery import OLD_SERVICE
from waguard.core.webhooks.session_gate import Connection
from waguard.errors import ConflictError, WaguardError
from waguard.host.clock import SystemClock
from waguard.host.files.media import MediaFolder
from waguard.host.memory.history_file import HistoryFile
from waguard.host.system.listen import base_url, listen
from waguard.messaging.deferred_files import DeferredFiles
from waguard.messaging.health import MessageHealth
from waguard.messaging.journal import Journal
from waguard.messaging.outbox.bulk import Bulks
from waguard.messaging.outbox.fetch import Fetcher
from waguard.messaging.outbox.outbox import Outbox
from waguard.messaging.outbox.outgoing_files import OutgoingFiles
from waguard.messaging.timings import BOUNDS, SendBounds
from waguard.messaging.webhooks.webhooks import Webhooks
from waguard.ports.clock import WallAges
from waguard.store.sql import SqlStore
from waguard.supervision.event_bus import Bus

KEY, SECOND_KEY = "key-of-the-sessions-0001", "key-of-the-messages-0002"


@dataclass
class Answer:
    """A whole response."""

    status: int
    headers: Any
    content: bytes

    def json(self) -> Any:
        """The decoded body; it must say that it is JSON."""
        assert self.headers["Content-Type"].startswith("application/json"), self.content
        return json.loads(self.content)


@dataclass
class FakeLog:
    """Fills ``ports.logs.LogLevels``."""

    configured: Log = field(default_factory=Log)
    effective: Log = field(default_factory=Log)
    asked: list[tuple[Level | None, str]] = field(default_factory=list)

    def ask(self, level: Level | None, *, by: str) -> None:
        """See there."""
        self.asked.append((level, by))
        self.effective = Log(level=level or self.configured.level)


@dataclass
class FakeControl:
    """Fills ``ports.store.DatabaseControl`` and ``GroupRelease``."""

    unknown: bool = False
    waiting: int = 0
    """Sessions whose messages to groups wait."""

    def accept(self) -> str:
        """See there."""
        if not self.unknown:
            raise ConflictError("there is nothing to accept")
        self.unknown = False
        return "sqlite /state/waguard.db"

    async def release_groups(self) -> int:
        """See ``ports.store.GroupRelease``."""
        count, self.waiting = self.waiting, 0
        return count


@dataclass
class Api:
    """A served API, and everything behind it."""

    http: aiohttp.ClientSession
    sessions: FakeSessions
    store: MemoryStore
    bus: Bus
    outbox: Outbox
    database: SqlStore
    """Of the messages alone; ``store`` is what the sessions see."""
    journal: Journal
    webhooks: Webhooks
    media: MediaFolder
    config: Config = field(default_factory=Config)
    log: FakeLog = field(default_factory=FakeLog)
    control: FakeControl = field(default_factory=FakeControl)
    clock: Clock = field(default_factory=Clock)
    """Of the issued keys alone."""
    versions: FakeVersions = field(default_factory=FakeVersions)
    passkeys: FakePasskeys = field(init=False)
    base: str = ""
    deps: ApiDeps = field(init=False)
    app: web.Application = field(init=False)
    no_room: WaguardError | None = None
    """Why no new work may begin."""
    held_elsewhere: HeldElsewhere | None = None
    """Who has the lease that this daemon waits for."""
    caller: Caller | None = None
    """Who has called, whatever key was shown; None: who the key says."""

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        data: Any = None,
        key: str | None = KEY,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request, with a good key where nothing else is said."""
        sent = dict(headers or {})
        if key is not None:
            sent["X-Api-Key"] = key
        if body is not None:
            data = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        if isinstance(data, bytes):
            data = io.BytesIO(data)  # aiohttp warns of large bytes
        async with self.http.request(
            method, self.base + path, data=data, headers=sent, allow_redirects=False
        ) as response:
            answer = Answer(response.status, response.headers, await response.read())
        described.check(self.app, method, path, answer.status, answer.headers, answer.content)
        return answer

    def require_room(self) -> None:
        if self.no_room:
            raise self.no_room

    def configure(self, section: str, **changes: Any) -> None:
        """As a reload of the configuration would."""
        replaced = msgspec.structs.replace(getattr(self.config, section), **changes)
        self.config = msgspec.structs.replace(self.config, **{section: replaced})


def _as_caller(world: Api) -> Any:
    """The last middleware: what comes before it has let the request in."""

    @web.middleware
    async def as_caller(request: web.Request, handler: Handler) -> web.StreamResponse:
        if world.caller:
            request[CALLER] = world.caller
        return await handler(request)

    return as_caller


def with_key(place: str, key: str, path: str) -> tuple[str, Any, dict[str, str]]:
    """Path, body and headers of a request that has the key in its place."""
    match place:
        case "body":
            return path, {"api_key": key}, {}
        case "query":
            return f"{path}?api_key={key}", None, {}
        case "X-Api-Key":
            return path, None, {place: key}
        case _:
            return path, None, {"Authorization": f"{place} {key}"}


@pytest.fixture
def no_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a turn waits without end."""
    monkeypatch.setattr(Intake, "_continue", lambda _: None)


@pytest.fixture
def timings() -> Timings:
    """A test has others by its parameter of this name, and so with ``limits``."""
    return Timings()


@pytest.fixture
def limits() -> Limits:
    return Limits()


@pytest.fixture
def bounds() -> SendBounds:
    return BOUNDS


@pytest.fixture
async def api(
    tmp_path: Path, timings: Timings, limits: Limits, bounds: SendBounds
) -> AsyncIterator[Api]:
    async with serving(tmp_path, timings, limits, bounds) as world:
        yield world


@pytest.fixture
async def hosts(tmp_path: Path) -> AsyncIterator[Pair]:
    async with pair(serving, tmp_path) as both:
        yield both


@contextlib.asynccontextmanager
async def serving(
    tmp_path: Path,
    timings: Timings,
    limits: Limits,
    bounds: SendBounds,
    *,
    join: Callable[[str], Cluster] | None = None,
) -> AsyncIterator[Api]:
    """An API with its files in a folder, until the end. ``join`` makes its base URL one of a cluster."""
    listener = listen("127.0.0.1", 0)
    sessions, store, bus = FakeSessions(), MemoryStore(), Bus(SystemClock())
    await store.open()
    for view in sessions.known.values():
        store.accounts[view.session_id] = Account(view.session_id, view.workspace_id)
    await template.copy_to(tmp_path / "w.db")
    database = SqlStore(f"sqlite+aiosqlite:///{tmp_path / 'w.db'}")
    await database.open()
    media = MediaFolder(tmp_path / "media")
    journal = Journal(
        database.messages, media, base="", for_global=lambda: OLD_SERVICE, publish=bus.publish
    )
    unlimited = aiohttp.TCPConnector(limit=0)
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(cookie_jar=jar, connector=unlimited) as http, journal:
        outgoing_files = OutgoingFiles(
            MediaFolder(tmp_path / "outgoing"),
            lambda: world.config,
            database.outbox.files_awaited,
            WallAges(time.time),
        )
        outbox = Outbox(
            sessions,
            database.outbox,
            journal,
            lambda: world.config,
            SystemClock(),
            require_room=lambda: world.require_room(),  # noqa: PLW0108 - it is made below
            bounds=bounds,
            file=outgoing_files.path,
        )
        await outbox.begin()
        webhooks = Webhooks(
            journal,
            lambda: world.config.webhook,
            (),
            instance_url="",
            connection=lambda _: Connection(),
        )
        await webhooks.endpoints.load()
        world = Api(http, sessions, store, bus, outbox, database, journal, webhooks, media)
        world.passkeys = FakePasskeys(sessions)
        issued = IssuedKeys(tmp_path / "keys.json", world.clock)
        world.deps = ApiDeps(
            config=lambda: world.config,
            keys=Keys(frozenset({KEY.encode(), SECOND_KEY.encode()}), issued.find),
            issued_keys=issued,
            sessions=sessions,
            passkeys=world.passkeys,
            proxies=sessions,
            reconciler=sessions,
            health=sessions.health,
            store=store,
            database=world.control,
            audit=store.entries.append,
            events=bus,
            outbox=outbox,
            bulks=Bulks(outbox, database.outbox, lambda: world.config.send),
            fetcher=Fetcher(lambda: world.config.send, files=outgoing_files),
            outgoing=database.outbox,
            messages=database.messages,
            media=media,
            outgoing_files=outgoing_files,
            deferred=DeferredFiles(
                sessions,
                journal,
                media,
                lambda: world.config,
                WallAges(SystemClock().wall),
                threads=outgoing_files.threads,
                base="http://h",
            ),
            webhooks=webhooks,
            message_health=MessageHealth(
                webhooks,
                journal,
                hold_limit=lambda: world.config.webhook.hold_limit,
                ages=WallAges(time.time),
            ),
            history=HistoryFile(tmp_path / "state", SystemClock()),
            log=world.log,
            versions=world.versions,
            restored=world.control,
            standby=lambda: world.held_elsewhere,
            require_room=world.require_room,
            cluster=join(base_url(listener)) if join else None,
        )
        world.base = base_url(listener)
        world.app = create_app(world.deps, timings=timings, limits=limits)
        world.app.middlewares.append(_as_caller(world))
        runner = await serve(world.app, listener, timings=timings, limits=limits)
        try:
            yield world
        finally:
            bus.close()
            sessions.free.set()
            await runner.cleanup()
            await outbox.close(0.0)
            outgoing_files.close()
    await database.close()
