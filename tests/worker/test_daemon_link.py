"""The worker's end of the line: who is let in, and what is kept until somebody has it."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from loguru import logger

from tests.waiting import DEADLINE, wait_until
from waguard.core.link import Link
from waguard.core.messages.received_media import DEFERRED
from waguard.errors import WaguardError
from waguard.wire import channel
from waguard.wire.calls import Exists, Failed, Value
from waguard.wire.channel import Channel
from waguard.wire.events import Ack, BackfillGap, Event, InboundMessage, LoggedOut, Undecryptable
from waguard.wire.protocol import PROTOCOL, FromWorker, Hello, Lend, Reply, Request, Stop, Stored
from waguard.wire.reports import Heartbeat, Report
from waguard.worker.link import daemon_link
from waguard.worker.link.daemon_link import LIMITS, BufferLimits, DaemonLink
from waguard.worker.timings import TIMINGS, Timings

HELLO = Hello(protocol=PROTOCOL, instance="daemon", session="s", generation=3)
NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    """Its name is short: a Unix socket's path ends at 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="wg-"))
    yield path
    shutil.rmtree(path)


class Bench:
    """A worker's line, and daemons that come and go."""

    def __init__(
        self,
        path: Path,
        earlier: Sequence[Event] = (),
        *,
        timings: Timings = TIMINGS,
        limits: BufferLimits = LIMITS,
    ) -> None:
        self.path = path
        self.answered: list[Request] = []
        self.hold = asyncio.Event()
        self.lent: list[float | None] = []
        self.link = DaemonLink(
            HELLO, earlier, lend=self.lent.append, timings=timings, limits=limits
        )
        self._daemons: list[Daemon] = []

    async def answer(self, request: Request) -> Reply:
        self.answered.append(request)
        if isinstance(request.call, Exists) and request.call.chat == "slow":
            await self.hold.wait()
        if isinstance(request.call, Exists) and request.call.chat == "odd":
            raise KeyError("what nobody foresaw")
        return Reply(id=request.id, outcome=Value(flag=True))

    async def daemon(self, hello: Hello | None = HELLO) -> "Daemon":
        reader, writer = await asyncio.open_unix_connection(self.path)
        daemon = Daemon(Channel(reader, writer, FromWorker), writer)
        self._daemons.append(daemon)
        if hello is not None:
            daemon.channel.post(hello)
        return daemon

    async def greeted(self) -> "Daemon":
        """A daemon that the worker has taken as its own."""
        before = self.link._channel
        daemon = await self.daemon()
        await wait_until(lambda: self.link._channel not in {None, before}, "the daemon was let in")
        return daemon

    async def end(self) -> None:
        for daemon in self._daemons:
            await daemon.leave()


class Daemon:
    def __init__(self, channel: Channel[FromWorker], writer: asyncio.StreamWriter) -> None:
        self.channel = channel
        self.writer = writer

    async def next(self) -> FromWorker:
        async with asyncio.timeout(DEADLINE):
            return await self.channel.receive()

    async def events(self, count: int) -> list[tuple[int, Any]]:
        reported = []
        for _ in range(count):
            event = await self.next()
            assert isinstance(event, Event)
            reported.append((event.seq, event.body))
        return reported

    async def refused(self) -> bool:
        """Whether the worker hangs up, having said nothing."""
        try:
            await self.next()
        except EOFError:
            return True
        return False

    async def leave(self) -> None:
        self.channel.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@pytest.fixture
def timings() -> Timings:
    """A test parametrizes what it needs otherwise."""
    return TIMINGS


@pytest.fixture
def limits() -> BufferLimits:
    return LIMITS


@pytest.fixture
async def bench(folder: Path, timings: Timings, limits: BufferLimits) -> AsyncIterator[Bench]:
    made = Bench(folder / "w.sock", timings=timings, limits=limits)
    server = await made.link.listen(made.path, made.answer)
    yield made
    server.close()
    async with asyncio.timeout(DEADLINE):
        await made.link.close()
    await made.end()
    here = asyncio.current_task()
    await wait_until(
        lambda: not [t for t in asyncio.all_tasks() if t is not here and "_serve" in repr(t)],
        "every connection has ended",
    )


def report(link: str = "connected") -> Report:
    return Report(session="s", generation=3, phase="ready", link=Link(link))


def message(number: int) -> InboundMessage:
    return InboundMessage(
        id=f"false_c_{number}",
        chat="c",
        sender="c",
        to="me",
        body=str(number),
        timestamp=1,
        from_me=False,
        kind="chat",
    )


def ack(number: int) -> Ack:
    return Ack(ids=(f"true_c_{number}",), chat="c", ack=2)


# ---- who is let in ----


async def test_a_daemon_gets_the_state_and_then_every_change(bench: Bench) -> None:
    bench.link.report(report("qr_pending"))
    daemon = await bench.greeted()
    assert await daemon.next() == report("qr_pending")
    bench.link.report(report("qr_pending"))  # no change
    bench.link.report(report())
    bench.link.heartbeat(Heartbeat(devtools=0.1, page=None))
    assert await daemon.next() == report()
    assert await daemon.next() == Heartbeat(devtools=0.1, page=None)


async def test_all_that_waits_is_one_write(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio counts at each write all those that wait: for each event one is quadratic, and nothing else runs."""
    bench.link.report(report())
    for number in range(100):
        bench.link.event(message(number))
    write, writers = asyncio.StreamWriter.write, list[asyncio.StreamWriter]()

    def counted(writer: asyncio.StreamWriter, content: bytes) -> None:
        writers.append(writer)
        write(writer, content)

    monkeypatch.setattr(asyncio.StreamWriter, "write", counted)
    daemon = await bench.greeted()
    assert await daemon.next() == report()
    assert [number for number, _ in await daemon.events(100)] == list(range(1, 101))
    assert len([writer for writer in writers if writer is not daemon.writer]) == 1


@pytest.mark.parametrize(
    "wrong", [{"generation": 2}, {"generation": 4}, {"protocol": PROTOCOL + 1}, {"session": "t"}]
)
async def test_a_daemon_that_means_another_worker_is_refused(
    bench: Bench, wrong: dict[str, Any]
) -> None:
    bench.link.report(report())
    bench.link.event(message(1))
    daemon = await bench.daemon(msgspec.structs.replace(HELLO, **wrong))
    assert await daemon.refused()
    assert bench.link.alone_since is not None


async def test_any_daemon_of_this_user_may_adopt(bench: Bench) -> None:
    bench.link.report(report())
    daemon = await bench.daemon(msgspec.structs.replace(HELLO, instance="the next one"))
    assert await daemon.next() == report()


@pytest.mark.parametrize("first", [Stop(), Stored(seq=9), Request(id=1, call=Exists(chat="c"))])
async def test_nothing_is_done_for_who_does_not_greet(
    bench: Bench, first: Stop | Stored | Request
) -> None:
    bench.link.event(message(1))
    daemon = await bench.daemon(None)
    daemon.channel.post(first)
    assert await daemon.refused()
    assert bench.answered == []
    assert not bench.link.stop_asked.is_set()
    assert len(bench.link._pending) == 1


@pytest.mark.parametrize("said", [b"", b"\x00", b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x01\xc1"])
async def test_nonsense_is_refused(bench: Bench, said: bytes) -> None:
    daemon = await bench.daemon(None)
    daemon.writer.write(said)
    daemon.writer.write_eof()
    assert await daemon.refused()
    await bench.greeted()


@pytest.mark.parametrize("timings", [Timings(hello=0.02)])
async def test_no_answer_is_not_waited_for_long(bench: Bench) -> None:
    daemon = await bench.daemon(None)
    assert await daemon.refused()


async def test_who_greets_twice_is_no_daemon_of_ours(bench: Bench) -> None:
    daemon = await bench.greeted()
    daemon.channel.post(HELLO)
    assert await daemon.refused()
    await wait_until(lambda: bench.link.alone_since is not None, "it is alone again")


GREET = """
import os, socket, sys
os.setuid(int(sys.argv[2]))
line = socket.socket(socket.AF_UNIX)
line.connect(sys.argv[1])
try:
    line.sendall(bytes.fromhex(sys.argv[3]))
    print(len(line.recv(9)))
except (ConnectionResetError, BrokenPipeError):
    print(0)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else for a moment")
@pytest.mark.parametrize(("uid", "heard"), [(NOBODY, 0), (0, 9)], ids=["stranger", "root"])
async def test_a_foreign_process_is_refused_although_the_folder_lets_it_in(
    bench: Bench, uid: int, heard: int
) -> None:
    """He even knows what to say."""
    bench.link.report(report())
    greeting = msgspec.msgpack.encode(HELLO)
    bench.path.parent.chmod(0o755)
    bench.path.chmod(0o777)
    said = (len(greeting).to_bytes(4) + greeting).hex()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", GREET, str(bench.path), str(uid), said, stdout=subprocess.PIPE
    )
    async with asyncio.timeout(DEADLINE):
        out, _ = await process.communicate()
    assert int(out) == heard


async def test_only_our_own_uid_and_root_are_no_foreign_processes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same where the tests do not run as root."""

    class Peer:
        uid = 0

        def getsockopt(self, level: int, option: int, size: int) -> bytes:
            return channel._UCRED.pack(1, self.uid, 1)

        def get_extra_info(self, name: str) -> "Peer":
            return self

    peer: Any = Peer()
    monkeypatch.setattr(os, "getuid", lambda: 1_000)
    for uid in (0, 1_000):
        peer.uid = uid
        daemon_link._refuse_foreign(peer)
    peer.uid = 1_001
    with pytest.raises(WaguardError, match="uid 1001"):
        daemon_link._refuse_foreign(peer)


# ---- calls ----


async def test_calls_are_answered_in_their_own_time(bench: Bench) -> None:
    daemon = await bench.greeted()
    daemon.channel.post(Request(id=7, call=Exists(chat="slow")))
    daemon.channel.post(Request(id=8, call=Exists(chat="c")))
    assert await daemon.next() == Reply(id=8, outcome=Value(flag=True))
    bench.hold.set()
    assert await daemon.next() == Reply(id=7, outcome=Value(flag=True))


async def test_a_bug_is_an_answer_too(bench: Bench) -> None:
    daemon = await bench.greeted()
    daemon.channel.post(Request(id=7, call=Exists(chat="odd")))
    reply = await daemon.next()
    assert isinstance(reply, Reply)
    assert isinstance(reply.outcome, Failed)
    assert (reply.id, reply.outcome.kind) == (7, "error")
    daemon.channel.post(Request(id=8, call=Exists(chat="c")))
    assert await daemon.next() == Reply(id=8, outcome=Value(flag=True))


async def test_an_answer_for_a_daemon_that_is_gone_goes_to_nobody_else(bench: Bench) -> None:
    first = await bench.greeted()
    first.channel.post(Request(id=7, call=Exists(chat="slow")))
    await wait_until(lambda: bench.answered, "the call is under way")
    await first.leave()
    second = await bench.greeted()
    bench.hold.set()
    second.channel.post(Request(id=1, call=Exists(chat="c")))
    assert await second.next() == Reply(id=1, outcome=Value(flag=True))


async def test_a_stop_of_the_daemon_is_asked_of_the_worker(bench: Bench) -> None:
    daemon = await bench.greeted()
    assert not bench.link.stop_asked.is_set()
    daemon.channel.post(Stop())
    async with asyncio.timeout(DEADLINE):
        await bench.link.stop_asked.wait()


# ---- events ----


async def test_events_come_in_order_and_are_kept_until_they_are_stored(bench: Bench) -> None:
    daemon = await bench.greeted()
    bodies: list[InboundMessage | Ack | LoggedOut] = [message(1), ack(2), LoggedOut(reason="phone")]
    for body in bodies:
        bench.link.event(body)
    assert await daemon.events(3) == list(enumerate(bodies, start=1))
    daemon.channel.post(Stored(seq=2))
    await wait_until(lambda: len(bench.link._pending) == 1, "two are stored")
    daemon.channel.post(Stored(seq=99))
    await wait_until(lambda: not bench.link._pending, "all are stored")


async def test_what_was_not_stored_is_sent_again_until_it_is(bench: Bench) -> None:
    bench.link.report(report())
    for number in (1, 2, 3):
        bench.link.event(message(number))  # nobody is there yet
    for _ in range(2):
        daemon = await bench.greeted()
        assert await daemon.next() == report()
        assert await daemon.events(3) == [(n, message(n)) for n in (1, 2, 3)]
        await daemon.leave()
        await wait_until(lambda: bench.link.alone_since is not None, "it is alone again")
    daemon = await bench.greeted()
    await daemon.next()
    await daemon.events(3)
    daemon.channel.post(Stored(seq=2))
    await wait_until(lambda: len(bench.link._pending) == 1, "two are stored")
    await daemon.leave()
    await wait_until(lambda: bench.link.alone_since is not None, "it is alone again")
    bench.link.event(message(4))
    daemon = await bench.greeted()
    assert await daemon.next() == report()
    assert await daemon.events(2) == [(3, message(3)), (4, message(4))]


@pytest.mark.parametrize("limits", [BufferLimits(events=5)])
async def test_the_buffer_is_bounded_and_acks_go_first(bench: Bench) -> None:
    bodies: list[InboundMessage | Ack] = [message(1), ack(2), message(3), ack(4)]
    for body in [*bodies, message(5), message(6), message(7)]:
        bench.link.event(body)
    assert [e.seq for e in bench.link._pending] == [1, 3, 5, 6, 7]
    bench.link.event(message(8))  # no ack is left: the oldest message
    daemon = await bench.greeted()
    assert [seq for seq, _ in await daemon.events(6)] == [1, 3, 5, 6, 7, 8]


@pytest.mark.parametrize("limits", [BufferLimits(events=2)])
async def test_of_a_chat_whose_messages_are_dropped_a_gap_is_left(bench: Bench) -> None:
    """It is read back since the first of them."""

    def at(chat: str, timestamp: int) -> InboundMessage:
        return msgspec.structs.replace(message(timestamp), chat=chat, timestamp=timestamp)

    hidden = Undecryptable(id="u", chat="b", sender="b", timestamp=60)
    new = at("a", 80), at("a", 90)
    for body in (LoggedOut(), at("a", 50), at("a", 40), hidden, at("a", 70), *new):
        bench.link.event(body)
    daemon = await bench.greeted()
    (first, gap_of_b), (second, gap_of_a), *rest = await daemon.events(4)
    assert isinstance(gap_of_a, BackfillGap)
    assert isinstance(gap_of_b, BackfillGap)
    assert (gap_of_a.chat, gap_of_a.since, gap_of_b.chat, gap_of_b.since) == ("a", 40, "b", 60)
    assert (first, second) == (4, 5), "those of the last message that was dropped of it"
    assert rest == [(6, new[0]), (7, new[1])]


@pytest.mark.parametrize("limits", [BufferLimits(events=2)])
async def test_gaps_are_bounded_too_and_cost_no_message_its_place(bench: Bench) -> None:
    for number in range(6):
        bench.link.event(msgspec.structs.replace(message(number), chat=f"{number}"))
    assert [(e.seq, type(e.body)) for e in bench.link.unstored] == [
        (3, BackfillGap),
        (4, BackfillGap),
        (5, InboundMessage),
        (6, InboundMessage),
    ]


async def test_a_full_buffer_costs_no_more_with_each_event(bench: Bench) -> None:
    """Sorted each time, that many would take longer than a test may."""
    logger.disable("waguard.worker.link.event_buffer")
    for number in range(200_000):
        chat = f"{number % 7}"
        bench.link.event(msgspec.structs.replace(message(number), chat=chat, timestamp=number))
    logger.enable("waguard.worker.link.event_buffer")
    bodies = (it.body for it in bench.link.unstored)
    gaps = [it for it in bodies if isinstance(it, BackfillGap)]
    assert len(bench.link.unstored) == 10_000 + len(gaps)
    assert {it.chat: it.since for it in gaps} == {f"{chat}": chat for chat in range(7)}
    assert [it.seq for it in bench.link.unstored] == list(range(190_001 - 7, 200_001))


async def test_what_the_worker_before_left_comes_first(folder: Path) -> None:
    earlier = [Event(seq=7, at=70.0, body=message(1)), Event(seq=9, at=90.0, body=message(2))]
    bench = Bench(folder / "w.sock", earlier)
    server = await bench.link.listen(bench.path, bench.answer)
    bench.link.event(message(3))
    waiting = asyncio.create_task(bench.link.stored(2))
    daemon = await bench.greeted()
    found = [await daemon.next() for _ in range(3)]
    assert found[:2] == [msgspec.structs.replace(e, seq=n) for n, e in enumerate(earlier, start=1)]
    daemon.channel.post(Stored(seq=1))
    await wait_until(lambda: len(bench.link.unstored) == 2, "one is stored")
    assert not waiting.done()
    daemon.channel.post(Stored(seq=2))
    async with asyncio.timeout(DEADLINE):
        await waiting
    assert [event.body for event in bench.link.unstored] == [message(3)]
    server.close()
    await bench.link.close()
    await bench.end()


@pytest.mark.parametrize("limits", [BufferLimits(room=2)])
async def test_there_is_room_as_soon_as_the_daemon_keeps_up(bench: Bench) -> None:
    """What can be told later must not push out what is live."""
    async with asyncio.timeout(DEADLINE):
        bench.link.event(message(1))
        await bench.link.room()
        bench.link.event(message(2))
        waiting = asyncio.create_task(bench.link.room())
        daemon = await bench.greeted()
        await daemon.events(2)
        assert not waiting.done()
        daemon.channel.post(Stored(seq=1))
        await waiting


async def test_flushed_waits_for_the_daemon_and_for_nobody_else(bench: Bench) -> None:
    bench.link.event(message(1))
    async with asyncio.timeout(DEADLINE):
        await bench.link.flushed()  # nobody is there
    daemon = await bench.greeted()
    flushing = asyncio.create_task(bench.link.flushed())
    await daemon.events(1)
    assert not flushing.done()
    daemon.channel.post(Stored(seq=1))
    async with asyncio.timeout(DEADLINE):
        await flushing
    bench.link.event(message(2))
    flushing = asyncio.create_task(bench.link.flushed())
    await daemon.events(1)
    await daemon.leave()
    async with asyncio.timeout(DEADLINE):
        await flushing


# ---- daemons come and go ----


async def test_the_newest_daemon_wins(bench: Bench) -> None:
    bench.link.report(report())
    bench.link.event(message(1))
    first = await bench.greeted()
    assert await first.next() == report()
    await first.events(1)
    second = await bench.greeted()
    assert await second.next() == report()
    assert await second.events(1) == [(1, message(1))]
    assert await first.refused()
    assert bench.link.alone_since is None
    bench.link.event(message(2))
    assert await second.events(1) == [(2, message(2))]


async def test_a_foreign_process_does_not_push_the_daemon_out(bench: Bench) -> None:
    daemon = await bench.greeted()
    other = await bench.daemon(msgspec.structs.replace(HELLO, session="t"))
    assert await other.refused()
    bench.link.heartbeat(Heartbeat(devtools=None, page=None))
    assert await daemon.next() == Heartbeat(devtools=None, page=None)
    assert bench.link.alone_since is None


async def test_how_long_it_has_been_alone(bench: Bench) -> None:
    begun = bench.link.alone_since
    assert begun is not None
    daemon = await bench.greeted()
    assert bench.link.alone_since is None
    await daemon.leave()
    since = await wait_until(lambda: bench.link.alone_since, "it is alone again")
    assert since is not None
    assert since >= begun


async def test_what_a_dead_worker_left_at_the_path_is_replaced(bench: Bench, folder: Path) -> None:
    path = folder / "left.sock"
    path.write_text("")
    server = await DaemonLink(HELLO).listen(path, bench.answer)
    assert path.is_socket()
    server.close()


async def test_the_end_delivers_what_was_said(bench: Bench) -> None:
    daemon = await bench.greeted()
    bench.link.event(message(1))
    bench.link.report(report("offline"))
    async with asyncio.timeout(DEADLINE):
        await bench.link.close()
    assert await daemon.events(1) == [(1, message(1))]
    assert await daemon.next() == report("offline")
    assert await daemon.refused()


@pytest.mark.parametrize("timings", [Timings(hang_up=DEADLINE)])
async def test_the_end_waits_neither_for_who_never_greeted_nor_for_calls(
    bench: Bench, timings: Timings
) -> None:
    silent = await bench.daemon(None)
    daemon = await bench.greeted()
    daemon.channel.post(Request(id=1, call=Exists(chat="slow")))
    await wait_until(lambda: bench.answered, "the call is under way")
    async with asyncio.timeout(timings.hello / 2):
        await bench.link.close()
    assert await silent.refused()
    assert await daemon.refused()
    assert bench.link._tasks == set()


@pytest.mark.parametrize("timings", [Timings(hang_up=0.05)])
async def test_a_daemon_that_reads_no_more_does_not_hold_up_the_end(bench: Bench) -> None:
    """It is stopped, or swaps: the socket's buffer is full and stays so."""
    daemon = await bench.greeted()
    daemon.writer.transport.pause_reading()  # type: ignore[attr-defined]
    big = msgspec.structs.replace(message(1), media=b"\0" * (4 << 20))
    bench.link.event(big)
    async with asyncio.timeout(DEADLINE):
        await bench.link.close()
    daemon.writer.transport.resume_reading()  # type: ignore[attr-defined]
    assert await daemon.events(1) == [(1, big)]


@pytest.mark.parametrize("limits", [BufferLimits(files=10)])
async def test_files_that_wait_for_a_daemon_are_bounded_and_messages_are_not(bench: Bench) -> None:
    files = [msgspec.structs.replace(message(number), media=b"12345") for number in range(4)]
    for file in files[:3]:
        bench.link.event(file)
    daemon = await bench.greeted()
    later = msgspec.structs.replace(files[2], media=None, deferred=True, media_error=DEFERRED)
    assert await daemon.events(3) == [(1, files[0]), (2, files[1]), (3, later)]
    daemon.channel.post(Stored(seq=1))
    await wait_until(lambda: len(bench.link._pending) == 2, "the daemon has the first")
    bench.link.event(files[3])
    assert await daemon.events(1) == [(4, files[3])]


async def test_what_is_lent_moves_its_deadline_and_a_daemon_that_never_lends_ends_it(
    bench: Bench,
) -> None:
    lender = await bench.daemon(msgspec.structs.replace(HELLO, lends=True))
    lender.channel.post(Lend(until=12.5))
    lender.channel.post(Lend(until=17.5))
    await wait_until(lambda: bench.lent == [12.5, 17.5], "it is moved")
    await bench.greeted()
    assert bench.lent == [12.5, 17.5, None]


@pytest.mark.parametrize(
    ("reads", "written", "sent"),
    [(4, 4, False), (None, 4, True), (5, 4, True), (4, None, True)],
    ids=["in its slot", "by an earlier daemon", "in another slot", "nowhere"],
)
async def test_a_heartbeat_that_its_daemon_does_not_read_is_sent(
    folder: Path, *, reads: int | None, written: int | None, sent: bool
) -> None:
    link = DaemonLink(HELLO, write=lambda _: written)
    server = await link.listen(folder / "w.sock", _unasked)
    try:
        reader, writer = await asyncio.open_unix_connection(folder / "w.sock")
        daemon = Channel[Any](reader, writer, FromWorker)
        daemon.post(msgspec.structs.replace(HELLO, slot=reads))
        async with asyncio.timeout(DEADLINE):
            await link.greeted.wait()
            link.heartbeat(Heartbeat(devtools=0.1, page=0.2))
            link.event(LoggedOut())
            first = await daemon.receive()
        writer.close()
        await writer.wait_closed()
    finally:
        server.close()
        await link.close()
    assert isinstance(first, Heartbeat) is sent


async def _unasked(request: Request) -> Reply:
    raise AssertionError(request)
