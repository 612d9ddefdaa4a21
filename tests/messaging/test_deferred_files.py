"""Files that come after their messages, on a real database: each in the end there, or given up with a reason."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.api.fake_sessions import SESSION, WORKSPACE, FakeSessions, a_view
from tests.messaging.outbox_world import Clock
from tests.store import template
from tests.waiting import wait_until
from waguard.config.sections import Config, Media
from waguard.core.messages.received_media import DEFERRED
from waguard.core.replace import replace
from waguard.errors import (
    DatabaseUnavailableError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from waguard.host.files import disk
from waguard.host.files.media import MediaFolder
from waguard.host.memory.lived import LivedTime
from waguard.messaging.deferred_files import GIVE_UP_AFTER, DeferredFiles, FetchTimings
from waguard.messaging.journal import Journal
from waguard.ports.messages import DeferredFile, FileState
from waguard.ports.store import SessionRow
from waguard.store.sql import SqlStore
from waguard.supervision.session import application_events as translate
from waguard.wire.calls import SAVED, FetchFile, Operation, Value
from waguard.wire.events import InboundMessage

CONTENT = b"a large file"
NAME = hashlib.sha256(CONTENT).hexdigest()
CHAT, OTHER = "6281@c.us", "webjs_2"
ROW = SessionRow(
    session_id=SESSION, workspace_id=WORKSPACE, status="connected", desired_up=True, generation=1
)
QUICK = FetchTimings(retry=0.02)


class Workers(FakeSessions):
    """Save the file where that is asked for, or fail as a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[FetchFile] = []
        self.failures: list[Exception] = []
        self.held: asyncio.Event | None = None

    async def call(self, session_id: str, call: Operation, *, wait: float) -> Value:
        assert isinstance(call, FetchFile)
        self.asked.append(call)
        folder = Path(call.folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SAVED).write_bytes(CONTENT[:3])
        if self.held:
            await self.held.wait()
        if self.failures:
            raise self.failures.pop(0)
        (folder / SAVED).write_bytes(CONTENT)
        return Value()


class World:
    """One daemon after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = Config()
        self.clock = Clock()
        self.workers = Workers()
        self.reserve = 0
        self.published: list[Any] = []

    async def start(self, *, in_cluster: bool = False) -> None:
        self.stack = AsyncExitStack()
        url = f"sqlite+aiosqlite:///{self.folder / 'w.db'}"
        self.store = SqlStore(url, wall=self.clock.wall)
        ages = LivedTime(self.folder / "state", self.clock)
        self.stack.callback(ages.save)
        await self.store.open()
        self.files = MediaFolder(self.folder / "media", reserve=lambda: self.reserve)
        self.files.sweep()
        self.journal = Journal(
            self.store.messages,
            self.files,
            base="http://h",
            for_global=lambda: (),
            publish=lambda *event, **_: self.published.append(event),
        )
        self.stack.push_async_callback(self.store.close)
        await self.stack.enter_async_context(self.journal)
        self.deferred = DeferredFiles(
            self.workers,
            self.journal,
            self.files,
            lambda: self.config,
            ages,
            threads=self.stack.enter_context(ThreadPoolExecutor(2, "large")),
            base="http://h",
            timings=QUICK,
            in_cluster=in_cluster,
        )
        await self.stack.enter_async_context(self.deferred)

    async def stop(self) -> None:
        await self.stack.aclose()

    async def receive(self, number: int = 1, *, row: SessionRow = ROW, **more: Any) -> str:
        """A message comes with its file to follow; the handle of that."""
        message = InboundMessage(
            id=f"false_{CHAT}_{number}",
            chat=CHAT,
            sender=CHAT,
            to="6282@c.us",
            body="",
            timestamp=1_732_233_600,
            from_me=False,
            kind="document",
            mimetype="application/pdf",
            size=len(CONTENT),
            deferred=True,
            media_error=DEFERRED,
        )
        message = msgspec.structs.replace(message, **more)
        self.journal.put(translate.received(row, message, self.clock.wall()), lambda _: None)
        assert await self.journal.flushed(30)
        url = self.published[-1][-1]["message"]["media"]["url"]
        assert url.startswith("http://h/api/media/")
        return str(url.rpartition("/")[2])

    async def row(self, handle: str) -> DeferredFile:
        found = await self.store.messages.deferred_file(handle)
        assert found
        return found

    async def ends(self, handle: str, state: FileState) -> DeferredFile:
        async with asyncio.timeout(30):
            while (row := await self.row(handle)).state is not state:
                await asyncio.sleep(0.01)
        return row

    def left(self) -> list[Path]:
        return [it for it in self.files.coming("").rglob("*") if it.is_file()]


@pytest.fixture
def in_cluster() -> bool:
    return False


@pytest.fixture
async def world(tmp_path: Path, *, in_cluster: bool) -> AsyncIterator[World]:
    await template.copy_to(tmp_path / "w.db")
    made = World(tmp_path)
    await made.start(in_cluster=in_cluster)
    yield made
    await made.stop()


async def test_the_message_is_there_at_once_and_its_file_later(world: World) -> None:
    world.workers.held = asyncio.Event()
    handle = await world.receive()
    media = world.published[-1][-1]["message"]["media"]
    assert (media["data"], media["sha256"], media["error"]) == (None, None, DEFERRED)
    assert (await world.row(handle)).state is FileState.WAITING
    world.workers.held.set()
    row = await world.ends(handle, FileState.KEPT)
    assert row.sha256 == NAME
    assert world.files.read(NAME) == CONTENT
    assert world.files.find(NAME)[1] == "application/pdf"  # type: ignore[index] # it is there
    assert not world.left()
    assert not await world.store.messages.files_to_fetch()


async def test_a_large_one_takes_no_common_thread(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    for name in ("keep_file", "discard"):
        real = getattr(world.files, name)

        def noting(*args: Any, real: Callable[..., Any] = real) -> Any:
            threads.append(threading.current_thread().name.partition("_")[0])
            return real(*args)

        monkeypatch.setattr(world.files, name, noting)
    await world.ends(await world.receive(), FileState.KEPT)
    assert threads == ["large", "large"]


async def test_one_that_fails_is_tried_again_and_then_given_up(world: World) -> None:
    world.workers.failures = [UnavailableError("the page crashed")]
    assert (await world.ends(await world.receive(1), FileState.KEPT)).tries == 2
    world.workers.failures = [RefusedError("media_not_found")] * 3
    row = await world.ends(await world.receive(2), FileState.FAILED)
    assert (row.tries, row.error) == (3, "media_not_found")
    assert not world.left()


async def test_a_database_that_is_away_is_no_failure_of_a_file(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = world.store.messages.end_file, 0

    async def away(*args: Any, **how: Any) -> None:
        nonlocal asked
        asked += 1
        if asked <= 4:
            raise DatabaseUnavailableError("the database does not answer", retry_after=1.0)
        await real(*args, **how)

    monkeypatch.setattr(world.store.messages, "end_file", away)
    row = await world.ends(await world.receive(), FileState.KEPT)
    assert (asked, row.error) == (5, None)
    assert (len(world.workers.asked), row.tries) == (1, 1), "nor a try"


async def test_what_cannot_be_given_up_yet_rests_and_is_said_once(
    world: World, logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that reads and does not write."""
    store, given_up, reads = world.store.messages, [0], [0]
    read, end = store.files_to_fetch, store.end_file

    async def full(*_: Any, **__: Any) -> None:
        given_up[0] += 1
        raise DatabaseUnavailableError("the disk is full")

    async def counted() -> list[DeferredFile]:
        reads[0] += 1
        return await read()

    world.deferred._timings = replace(QUICK, retry=3_600.0)
    world.workers.not_ready = NotFoundError("there is no such session")
    monkeypatch.setattr(store, "end_file", full)
    monkeypatch.setattr(store, "files_to_fetch", counted)
    handle = await world.receive()
    await wait_until(lambda: given_up[0], "it is to be given up")
    for number in range(3):
        reads[0] = 0
        world.deferred._changed.set()
        await wait_until(lambda: reads[0], f"what waits is read again, {number}")
    assert given_up == [1]
    assert not any("left out" in line for line in logged)
    monkeypatch.setattr(store, "end_file", end)
    world.deferred._rests.clear()
    world.deferred._changed.set()
    assert (await world.ends(handle, FileState.FAILED)).error == "there is no such session"
    await wait_until(lambda: any("left out" in line for line in logged), "it is said")
    assert sum("left out" in line for line in logged) == 1


async def test_a_bug_is_said_and_given_up_like_any_other_failure(
    world: World, logged: list[str]
) -> None:
    world.workers.failures = [ValueError("odd")] * 3
    row = await world.ends(await world.receive(), FileState.FAILED)
    assert row.tries == 3
    assert "ValueError" in str(row.error)
    assert SESSION in world.deferred._rests, "it is not begun again at once"
    assert len([it for it in logged if "a bug in waguard" in it and "odd" in it]) == 3
    assert not world.left()


async def test_a_session_that_is_not_ready_is_waited_for_and_not_forever(world: World) -> None:
    world.workers.not_ready = UnavailableError("it is starting")
    handle = await world.receive()
    world.workers.connect()
    assert (await world.ends(handle, FileState.KEPT)).tries == 1
    world.workers.not_ready = UnavailableError("it is starting")
    handle = await world.receive(2)
    world.clock.now += GIVE_UP_AFTER + 1
    assert "it is starting" in str((await world.ends(handle, FileState.FAILED)).error)
    world.workers.not_ready = NotFoundError("Session not found")
    assert (await world.ends(await world.receive(3), FileState.FAILED)).error
    assert len(world.workers.asked) == 1


async def test_time_without_a_daemon_is_no_time_that_a_file_waited(world: World) -> None:
    world.workers.not_ready = UnavailableError("it is starting")
    handle = await world.receive()
    await world.stop()
    world.clock.now += 3 * GIVE_UP_AFTER
    await world.start()
    await wait_until(lambda: SESSION in world.deferred._rests, "its session was asked")
    assert (await world.row(handle)).state is FileState.WAITING
    world.workers.connect()
    assert (await world.ends(handle, FileState.KEPT)).tries == 1


async def test_what_is_too_large_is_left_out(world: World) -> None:
    world.config = Config(media=Media(file_limit=1))
    row = await world.ends(await world.receive(2, size=(1 << 20) + 1), FileState.FAILED)
    assert "the limit is 1048576" in str(row.error)
    assert not world.workers.asked


async def test_what_finds_no_room_waits_for_a_day(world: World) -> None:
    world.reserve = 1 << 60
    handle = await world.receive(1)
    await wait_until(lambda: SESSION in world.deferred._rests, "there was no room")
    assert (await world.row(handle)).state is FileState.WAITING
    world.reserve = 0
    assert (await world.ends(handle, FileState.KEPT)).tries == 1
    world.reserve = 1 << 60
    handle = await world.receive(2)
    world.clock.now += GIVE_UP_AFTER + 1
    assert "limits.disk_reserve" in str((await world.ends(handle, FileState.FAILED)).error)
    assert len(world.workers.asked) == 1


async def test_what_the_disk_did_not_take_comes_when_it_does(
    world: World, logged: list[str]
) -> None:
    folder = world.folder / "media"
    folder.write_text("no folder")
    small: dict[str, Any] = {"deferred": False, "media_error": None, "media": CONTENT}
    handle = await world.receive(1, **small)
    media = world.published[-1][-1]["message"]["media"]
    assert (media["data"], media["sha256"], media["error"]) == (None, None, DEFERRED)
    await wait_until(lambda: SESSION in world.deferred._rests, "the disk takes nothing")
    assert (await world.row(handle)).state is FileState.WAITING
    assert not world.workers.asked
    folder.unlink()
    row = await world.ends(handle, FileState.KEPT)
    assert (row.sha256, row.tries, row.size) == (NAME, 1, len(CONTENT))
    assert [it for it in logged if "media_not_fetched" in it]
    assert not [it for it in logged if "media_left_out" in it]


async def test_those_that_come_at_once_leave_the_reserve_together(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chromium may write of each what its sender says, and hardly more."""
    monkeypatch.setattr(disk, "free", lambda _: 150 << 20)
    world.reserve = 1
    world.workers.held = asyncio.Event()
    world.workers.known[OTHER] = a_view(session_id=OTHER)
    first = await world.receive(1, size=100 << 20)
    await wait_until(lambda: world.workers.asked, "the first comes")
    other = replace(ROW, session_id=OTHER)
    second = await world.receive(2, row=other, size=100 << 20)
    await wait_until(lambda: OTHER in world.deferred._rests, "the second waits")
    assert len(world.workers.asked) == 1
    assert (await world.row(second)).state is FileState.WAITING
    world.workers.held.set()
    for handle in (first, second):
        await world.ends(handle, FileState.KEPT)
    await wait_until(lambda: world.deferred._coming == 0, "nothing more comes")


async def test_the_next_daemon_fetches_what_the_one_before_did_not(world: World) -> None:
    world.workers.held = asyncio.Event()
    handle = await world.receive()
    async with asyncio.timeout(30):
        while not world.workers.asked:
            await asyncio.sleep(0.01)
    await world.stop()
    world.workers.held = None
    await world.start()
    assert (await world.ends(handle, FileState.KEPT)).tries == 2
    assert [it for it in (world.folder / "media").glob("??/*") if not it.suffix] == [
        world.files.find(NAME)[0]  # type: ignore[index] # it is there
    ]
    assert not world.left()


async def test_what_was_read_before_a_file_came_is_not_fetched_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.workers.held = asyncio.Event()
    handle = await world.receive()
    await wait_until(lambda: world.workers.asked, "it comes")
    real, read = world.store.messages.files_to_fetch, asyncio.Event()

    async def slowly() -> list[DeferredFile]:
        found = await real()
        read.set()
        while world.deferred._busy:
            await asyncio.sleep(0)
        return found

    monkeypatch.setattr(world.store.messages, "files_to_fetch", slowly)
    await read.wait()
    world.workers.held.set()
    await world.ends(handle, FileState.KEPT)
    world.workers.known[OTHER] = a_view(session_id=OTHER)
    row = replace(ROW, session_id=OTHER)
    await world.ends(await world.receive(2, row=row), FileState.KEPT)
    assert len(world.workers.asked) == 2


async def test_one_session_waits_for_no_other(world: World) -> None:
    world.workers.known[OTHER] = a_view(session_id=OTHER)
    world.workers.held = asyncio.Event()
    first = await world.receive(1)
    async with asyncio.timeout(30):
        while not world.workers.asked:
            await asyncio.sleep(0.01)
    second = await world.receive(2)
    # the first one counts as tried
    assert [it.handle for it in await world.store.messages.files_to_fetch()] == [second]
    assert len(world.workers.asked) == 1
    world.workers.held.set()
    for handle in (first, second):
        await world.ends(handle, FileState.KEPT)


@pytest.mark.parametrize("in_cluster", [True])
async def test_a_session_that_goes_and_comes_back_has_its_file_fetched_by_its_owner_alone(
    world: World,
) -> None:
    world.workers.known[OTHER] = a_view(session_id=OTHER)
    other = await world.receive(2, row=replace(ROW, session_id=OTHER))
    await world.deferred.acquire({OTHER})
    await world.ends(other, FileState.KEPT)
    handle = await world.receive()
    await world.ends(await world.receive(3, row=replace(ROW, session_id=OTHER)), FileState.KEPT)
    assert len(world.workers.asked) == 2, "another host fetches the first one"
    world.workers.held = asyncio.Event()
    await world.deferred.acquire({SESSION})
    await wait_until(lambda: len(world.workers.asked) == 3, "it comes")
    before = await world.row(handle)
    await world.deferred.lose({SESSION})
    assert await world.row(handle) == before, "nothing is written"
    assert not world.left()
    world.workers.held = None
    await world.deferred.acquire({SESSION})
    await world.ends(handle, FileState.KEPT)
    await world.deferred.release(SESSION)
    assert not world.deferred._busy


async def test_what_failed_or_is_gone_is_fetched_again(world: World) -> None:
    world.workers.failures = [RefusedError("media_not_found")] * 3
    handle = await world.receive()
    await world.ends(handle, FileState.FAILED)

    async def again(number: int, sessions: set[str]) -> tuple[str, FileState] | None:
        found = await world.store.messages.named_file(f"false_{CHAT}_{number}", sessions)
        return None if found is None else await world.deferred.fetch_again(found)

    assert await again(1, {OTHER}) is None
    assert await again(9, {SESSION}) is None
    url = f"http://h/api/media/{handle}"
    assert await again(1, {SESSION}) == (url, FileState.WAITING)
    await world.ends(handle, FileState.KEPT)
    assert await again(1, {SESSION}) == (url, FileState.KEPT)
    world.files.tidy(now=1e12, keep_for=0.0, size_limit=0)
    assert await again(1, {SESSION}) == (url, FileState.WAITING)
    await world.ends(handle, FileState.KEPT)
    # one that was to come with its message, and did not
    await world.receive(2)
    message = {"deferred": False, "media_error": "no file"}
    world.published.clear()
    text = {"mimetype": None, "kind": "chat", "body": "hi", "media_error": None, "deferred": False}
    for number, more in ((3, message), (4, text)):
        one = msgspec.structs.replace(SMALL, id=f"false_{CHAT}_{number}", **more)
        world.journal.put(translate.received(ROW, one, world.clock.wall()), lambda _: None)
    assert await world.journal.flushed(30)
    found = await again(3, {SESSION})
    assert found
    assert found[1] is FileState.WAITING
    await world.ends(found[0].rpartition("/")[2], FileState.KEPT)
    assert await again(4, {SESSION}) is None, "it has no file"


SMALL = InboundMessage(
    id="",
    chat=CHAT,
    sender=CHAT,
    to="6282@c.us",
    body="",
    timestamp=1_732_233_600,
    from_me=False,
    kind="image",
    mimetype="image/png",
    size=5,
)
