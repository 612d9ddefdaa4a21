"""Files that are sent: whole, fetched once, in the database while they wait."""

import asyncio
import errno
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.api.fake_sessions import SESSION
from tests.host.odd_files import hide
from tests.messaging.outbox_ends import result
from tests.messaging.outbox_world import CHAT, World
from tests.waiting import wait_until
from waguard.config.sections import Config, Send
from waguard.core.messages.send_states import State
from waguard.core.messages.transfers import transfer_time
from waguard.errors import (
    InvalidInputError,
    NoRoomError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
    WaguardError,
)
from waguard.messaging.outbox.commands import Command, Media, file, text
from waguard.messaging.outbox.pending_sends import PendingSend
from waguard.messaging.timings import SendTimings
from waguard.ports.outcomes import Acked, NotSent
from waguard.wire.calls import SendFile, SendMedia


async def test_media_are_asked_for_whole(world: World) -> None:
    media = Media(content=b"x", mimetype="image/png", kind="image", filename="f", caption="c")
    pending = world.accept(file(CHAT, media))
    await world.result(pending)
    [call] = world.sessions.sends()
    assert isinstance(call, SendMedia)
    assert (call.content, call.kind, call.filename, call.caption) == (b"x", "image", "f", "c")
    assert world.accept(file(CHAT, media)) is pending


async def test_the_same_address_is_the_same_file_whatever_it_gave(world: World) -> None:
    def fetched(content: bytes, address: str) -> PendingSend:
        media = Media(content=content, mimetype="a/b", kind="document")
        return world.accept(file(CHAT, media), scope=address)

    first = fetched(b"made at 12:00", "https://files.example/bill")
    assert fetched(b"made at 12:01", "https://files.example/bill") is first
    assert fetched(b"made at 12:00", "https://files.example/other") is not first
    await wait_until(lambda: len(world.sessions.sends()) == 2, "both began")


async def test_what_the_database_takes_may_be_raised_while_waguard_runs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = [4, 4, 8]

    async def largest() -> int:
        return limits.pop(0)

    monkeypatch.setattr(world.store.outbox, "largest_body", largest)
    await world.outbox._acceptance.begin()
    bill = file(CHAT, Media(content=b"a bill", mimetype="a/b", kind="document"))
    with pytest.raises(InvalidInputError, match="the database takes 4"):
        await world.result(world.accept(bill))
    assert await world.result(world.accept(bill))
    assert not limits


async def test_a_file_is_fetched_once_also_over_a_crash(world: World) -> None:
    fetched: list[str] = []

    async def fetch() -> Command:
        fetched.append("bill")
        return file(CHAT, Media(content=b"a bill", mimetype="a/b", kind="image"))

    def ask() -> PendingSend:
        asked = file(CHAT, Media(content=b"", mimetype="?/?", kind="document"))
        return world.accept(asked, key="k", scope="https://files.example/bill", fetch=fetch)

    pending = ask()
    assert ask() is pending
    await result(world, pending)
    world.outbox.answered(pending)
    row = await world.row(pending)
    assert (row.state, row.kind) == (State.SENT, "image")
    await world.kill()
    await world.start()
    assert (await result(world, ask())).message_id == pending.message_id
    assert fetched == ["bill"]
    [call] = world.sessions.sends()
    assert isinstance(call, SendMedia)
    assert call.content == b"a bill"


async def test_a_file_that_waits_is_in_the_database_and_not_in_memory(world: World) -> None:
    world.sessions.connect(UnavailableError("not yet"))
    pending = world.accept(file(CHAT, Media(content=b"bill", mimetype="a/b", kind="image")))
    await asyncio.shield(pending.stored)
    await asyncio.sleep(0)
    assert pending.command is None
    world.sessions.connect()
    await result(world, pending)
    [call] = world.sessions.sends()
    assert isinstance(call, SendMedia)
    assert (call.content, call.kind) == (b"bill", "image")


async def test_what_cannot_be_fetched_has_another_chance(world: World) -> None:
    answers = [NotFoundError("no file"), RuntimeError("a bug"), None]

    async def fetch() -> Command:
        if answer := answers.pop(0):
            raise answer
        return text(CHAT, "hi")

    for error in (NotFoundError, RuntimeError):
        with pytest.raises(error):
            await world.result(world.send(fetch=fetch))
    assert await world.store.outbox.listing() == []
    assert isinstance(await world.result(world.send(fetch=fetch)), Acked)


def by_hash(world: World, content: bytes) -> Command:
    """What is sent of a file on the disk."""
    draft = world.files.begin()
    draft.write(content)
    name = draft.keep("a/b")
    return file(CHAT, Media(file=name, size=len(content), mimetype="a/b", kind="document"))


async def test_a_file_on_the_disk_is_kept_by_its_hash(world: World) -> None:
    """Over a crash, too: the row has no content, and names the file."""
    world.sessions.not_ready = UnavailableError("it is not ready")
    command = by_hash(world, b"large")
    pending = world.accept(command, queue=True)
    await pending.stored
    assert world.accept(command, queue=True) is pending, "the same file is the same message"
    body, content = await world.store.outbox.load(pending.id) or (b"", b"?")
    assert content is None
    [name] = await world.store.outbox.files_awaited()
    assert name.encode() in body
    await world.kill()
    await world.start()
    world.sessions.connect()
    await wait_until(world.sessions.sends, "it is sent")
    [call] = world.sessions.sends()
    assert isinstance(call, SendFile)
    assert Path(call.file) == world.files.find(name)[0]  # type: ignore[index] # it is there
    assert call.timeout == pytest.approx(30.0 + transfer_time(5))

    async def is_free() -> bool:
        return not await world.store.outbox.files_awaited()

    await until(is_free)


async def test_a_large_file_has_its_time_before_its_reply_is_unknown(world: World) -> None:
    """Also one that is fetched before."""
    world.timings = SendTimings(margin=0.0, reply_margin=0.0)
    world.config = lambda: Config(send=Send(wait=0.0, timeout=0.0))
    await world.kill()
    await world.start()
    world.sessions.free.clear()
    name, other = world.files.keep(b"x", "a/b"), "6281@c.us"
    media = Media(file=name, size=100 << 20, mimetype="a/b", kind="video")

    async def fetch() -> Command:
        return file(other, media)

    unknown = file(other, Media(mimetype="a/b", kind="video"))
    sends = [world.accept(file(CHAT, media)), world.accept(unknown, fetch=fetch)]
    replies = [asyncio.create_task(world.result(pending)) for pending in sends]
    await wait_until(lambda: len(world.sessions.sends()) == 2, "both are on their way")
    world.sessions.free.set()
    for reply in replies:
        assert isinstance(await reply, Acked)


async def test_a_message_whose_file_is_gone_fails(world: World) -> None:
    world.sessions.not_ready = UnavailableError("it is not ready")
    pending = world.accept(by_hash(world, b"large"), queue=True)
    await pending.stored
    world.files.tidy(now=1e12, keep_for=0.0, size_limit=0)
    world.sessions.connect()

    async def has_failed() -> bool:
        return (await world.row(pending)).state is State.FAILED

    await until(has_failed)
    assert "not kept any more" in str((await world.row(pending)).error)
    assert not world.sessions.sends()


async def test_a_message_waits_for_a_disk_that_does_not_say_whether_its_file_is_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.timings = SendTimings(retry=0.01)
    await world.kill()
    await world.start()
    command = by_hash(world, b"large")
    assert isinstance(command, SendFile)
    path, _ = world.files.find(command.file) or (Path(), "")
    with monkeypatch.context() as patch:
        hide(patch, path, errno.EIO)
        awaited = world.accept(command)
        with pytest.raises(UnavailableError, match="cannot be read now"):
            await world.result(awaited)
        assert (await world.row(awaited)).state is State.FAILED
    world.sessions.not_ready = UnavailableError("it is not ready")
    waiting = world.accept(command, queue=True)
    await waiting.stored
    with monkeypatch.context() as patch:
        asked = hide(patch, path, errno.EIO)
        world.sessions.connect()
        await wait_until(lambda: len(asked) >= 2, "it is tried again")
        row = await world.row(waiting)
        assert (row.state, row.attempts) == (State.ACCEPTED, 0)
    assert isinstance(await asyncio.shield(waiting.done), Acked)


# ---- in a cluster ----


class OtherHost:
    """A host that was asked for files, and what it says to that."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.says: WaguardError | None = None
        self.has: dict[str, bytes] = {}
        self.asked = 0
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def bring(self, name: str) -> None:
        self.asked += 1
        await self.goes_on.wait()
        if self.says:
            raise self.says
        if content := self.has.get(name):
            self._world.files.keep(content, "a/b")


async def adopted(world: World) -> tuple[OtherHost, PendingSend]:
    """A message that waits, whose file is on the disk of the host that owned its session before."""
    world.timings = SendTimings(retry=0.01, file_rest=0.02)
    world.bring = (other := OtherHost(world)).bring
    await world.kill()
    await world.start()
    world.sessions.not_ready = UnavailableError("it is not ready")
    pending = world.accept(by_hash(world, b"large"), queue=True)
    await pending.stored
    [name] = await world.store.outbox.files_awaited()
    world.files.tidy(now=1e12, keep_for=0.0, size_limit=0)
    other.has[name] = b"large"
    return other, pending


async def test_a_file_that_another_host_has_is_sent(world: World) -> None:
    _, pending = await adopted(world)
    world.sessions.connect()
    assert isinstance(await asyncio.shield(pending.done), Acked)
    [call] = world.sessions.sends()
    assert isinstance(call, SendFile)
    assert Path(call.file).read_bytes() == b"large"


@pytest.mark.parametrize(
    "error", [UnavailableError("h1 is away"), NoRoomError("the disk is nearly full")]
)
async def test_a_message_waits_for_a_file_of_a_host_that_is_away(
    world: World, error: WaguardError
) -> None:
    """Its row says all the while that it has not begun: a crash must not make it uncertain."""
    other, pending = await adopted(world)
    other.says = error
    world.sessions.connect()
    await wait_until(lambda: other.asked >= 2 or pending.done.done(), "it is asked again")
    row = await world.row(pending)
    assert (row.state, row.attempts) == (State.ACCEPTED, 0)
    other.says = None
    assert isinstance(await asyncio.shield(pending.done), Acked)
    assert len(world.sessions.sends()) == 1


@pytest.mark.parametrize("error", [None, TooLargeError("it has more than 1 byte")])
async def test_a_file_that_no_host_has_or_this_one_may_not_have(
    world: World, error: WaguardError | None
) -> None:
    other, pending = await adopted(world)
    other.says = error
    other.has.clear()
    world.sessions.connect()
    assert isinstance(await asyncio.shield(pending.done), NotSent)
    row = await world.row(pending)
    assert row.state is State.FAILED
    assert (error.message if error else "not kept any more") in str(row.error)


async def test_what_is_abandoned_while_its_file_comes_is_not_sent(world: World) -> None:
    other, pending = await adopted(world)
    other.goes_on.clear()
    world.sessions.connect()
    await wait_until(lambda: other.asked, "its file comes")
    await world.outbox.abandon(SESSION, "the session was logged out")
    other.goes_on.set()
    assert isinstance(await asyncio.shield(pending.done), NotSent)
    assert "logged out" in str((await world.row(pending)).error)
    assert not world.sessions.sends()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await condition():
            await asyncio.sleep(0.01)
