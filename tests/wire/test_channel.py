"""The channel between daemon and worker: every message, limits, nonsense, and a peer that is gone."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.waiting import DEADLINE
from tests.wire.messages import CALLS, MEDIA, MESSAGE, TO_DAEMON, TO_WORKER
from waguard.core import exits
from waguard.core.link import Link
from waguard.core.proxy import parse
from waguard.wire.calls import Value
from waguard.wire.channel import FRAME_LIMIT, Channel, ChannelError
from waguard.wire.events import (
    Event,
)
from waguard.wire.protocol import FromDaemon, FromWorker, Reply, Request
from waguard.wire.reports import Heartbeat, PageVersion, Report
from waguard.wire.worker import StoredDocument, WorkerRecord, WorkerSpec


@dataclass(frozen=True)
class Pair:
    """Both ends of a real Unix socket. ``raw`` writes bytes to the daemon as a worker would."""

    daemon: Channel[FromWorker]
    worker: Channel[FromDaemon]
    raw: asyncio.StreamWriter


@contextlib.asynccontextmanager
async def connected(limit: int = FRAME_LIMIT) -> AsyncIterator[Pair]:
    here, there = socket.socketpair()
    daemon_reader, daemon_writer = await asyncio.open_unix_connection(sock=here)
    worker_reader, worker_writer = await asyncio.open_unix_connection(sock=there)
    try:
        yield Pair(
            Channel(daemon_reader, daemon_writer, FromWorker, limit=limit),
            Channel(worker_reader, worker_writer, FromDaemon, limit=limit),
            worker_writer,
        )
    finally:
        for writer in (daemon_writer, worker_writer):
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with connected() as both:
        yield both


def framed(content: bytes) -> bytes:
    return len(content).to_bytes(4) + content


def kind(message: Any) -> str:
    """Its type, and the type or the word of what it carries."""
    inner = [getattr(message, name, None) for name in ("call", "body", "outcome")]
    names = [type(part).__name__ for part in (message, *inner) if part is not None]
    return "-".join([*names, getattr(message, "phase", "")]).rstrip("-")


@pytest.mark.parametrize("message", TO_WORKER, ids=kind)
async def test_what_the_daemon_says_arrives(pair: Pair, message: FromDaemon) -> None:
    await pair.daemon.send(message)
    assert await pair.worker.receive() == message


@pytest.mark.parametrize("message", TO_DAEMON, ids=kind)
async def test_what_the_worker_says_arrives(pair: Pair, message: FromWorker) -> None:
    await pair.worker.send(message)
    assert await pair.daemon.receive() == message


def test_nothing_that_can_be_said_is_left_out_above() -> None:
    said: set[type] = {type(message) for message in (*TO_WORKER, *TO_DAEMON, *CALLS)}
    for message in TO_DAEMON:
        said.update({type(getattr(message, name, None)) for name in ("body", "outcome")})
    unions: list[Any] = [FromDaemon, FromWorker]
    sayable = {member for union in unions for member in union.__args__}
    for name, struct in (("call", Request), ("body", Event), ("outcome", Reply)):
        field = {f.name: f for f in msgspec.structs.fields(struct)}[name]
        sayable.update(field.type.__args__)
    assert sayable <= said


async def test_messages_keep_their_order_and_their_borders(pair: Pair) -> None:
    for message in TO_DAEMON * 20:
        pair.worker.post(message)
    pair.worker.post(*TO_DAEMON)
    assert [await pair.daemon.receive() for _ in TO_DAEMON * 21] == list(TO_DAEMON * 21)


async def test_a_message_that_comes_byte_by_byte(pair: Pair) -> None:
    receiving = asyncio.create_task(pair.daemon.receive())
    for byte in framed(msgspec.msgpack.encode(TO_DAEMON[0])):
        pair.raw.write(bytes([byte]))
        await pair.raw.drain()
    assert await receiving == TO_DAEMON[0]


async def test_a_large_file_in_both_directions_at_once(pair: Pair) -> None:
    """Each side is still writing when the other begins: neither may wait for the other."""
    size = 16 << 20
    call = Request(id=1, call=msgspec.structs.replace(MEDIA, content=b"\0" * size))
    event = Event(seq=1, at=0, body=msgspec.structs.replace(MESSAGE, media=b"\1" * size))
    sending = asyncio.gather(pair.daemon.send(call), pair.worker.send(event))
    assert await pair.daemon.receive() == event
    assert await pair.worker.receive() == call
    await sending


async def test_the_limit_is_for_both_sides() -> None:
    message = TO_DAEMON[0]
    size = len(msgspec.msgpack.encode(message))
    async with connected(limit=size) as pair:
        await pair.worker.send(message)
        assert await pair.daemon.receive() == message
    async with connected(limit=size - 1) as pair:
        with pytest.raises(ChannelError, match=f"{size} bytes"):
            pair.worker.post(message)
        pair.raw.write(framed(msgspec.msgpack.encode(message)))
        with pytest.raises(ChannelError, match=f"{size} bytes"):
            await pair.daemon.receive()


async def test_a_message_that_is_too_large_is_not_half_sent(pair: Pair) -> None:
    huge = Reply(id=1, outcome=Value(content=bytes(FRAME_LIMIT)))
    with pytest.raises(ChannelError, match="over the limit"):
        await pair.worker.send(huge)
    await pair.worker.send(TO_DAEMON[0])
    assert await pair.daemon.receive() == TO_DAEMON[0]


async def test_what_comes_before_one_that_is_too_large_is_sent(pair: Pair) -> None:
    huge = Reply(id=1, outcome=Value(content=bytes(FRAME_LIMIT)))
    with pytest.raises(ChannelError, match="over the limit"):
        pair.worker.post(TO_DAEMON[0], huge, TO_DAEMON[0])
    assert await pair.daemon.receive() == TO_DAEMON[0]


async def test_a_length_beyond_the_limit_is_not_waited_for(pair: Pair) -> None:
    pair.raw.write((FRAME_LIMIT + 1).to_bytes(4))
    with pytest.raises(ChannelError, match="over the limit"):
        await pair.daemon.receive()


NONSENSE: Final = {
    "nothing": b"",
    "not MessagePack": b"\xc1",
    "a bare number": msgspec.msgpack.encode(7),
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "cut off": msgspec.msgpack.encode(TO_DAEMON[0])[:-1],
    "something after it": msgspec.msgpack.encode(TO_DAEMON[0]) + b"\0",
    "an unknown tag": msgspec.msgpack.encode({"type": "future", "x": 1}),
    "no tag": msgspec.msgpack.encode({"devtools": 0.1, "page": 0.1}),
    "the other side's tag": msgspec.msgpack.encode(TO_WORKER[0]),
    "a missing field": msgspec.msgpack.encode({"type": "heartbeat", "page": 0.1}),
    "a wrong type": msgspec.msgpack.encode({"type": "heartbeat", "devtools": "x", "page": 0.1}),
    "an unknown tag inside": msgspec.msgpack.encode(
        {"type": "reply", "id": 1, "outcome": {"type": "future"}}
    ),
    "text that is no UTF-8": b"\x82\xa4type\xa9logged_ou\xff\xa6reason\xc0",
    "a list without a bottom": b"\x82\xa4type\xa9heartbeat\xa1x" + b"\x91" * 100_000,
}


@pytest.mark.parametrize("content", NONSENSE.values(), ids=NONSENSE.keys())
async def test_nonsense_is_named_and_the_next_message_is_still_read(
    pair: Pair, content: bytes
) -> None:
    pair.raw.write(framed(content))
    pair.worker.post(TO_DAEMON[0])
    with pytest.raises(ChannelError, match="not a message of this protocol"):
        await pair.daemon.receive()
    assert await pair.daemon.receive() == TO_DAEMON[0]


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["type", "id", "seq"]), inner)
        ),
    ).map(msgspec.msgpack.encode)
)
def test_whatever_comes_is_a_message_or_named_as_none(content: bytes) -> None:
    async def read() -> None:
        async with connected() as pair:
            pair.raw.write(framed(content))
            with contextlib.suppress(ChannelError):
                assert isinstance(await pair.daemon.receive(), FromWorker)

    asyncio.run(read())


async def test_a_field_that_a_newer_worker_adds_is_passed_over(pair: Pair) -> None:
    reported = {"type": "heartbeat", "devtools": 0.1, "page": 0.2, "mood": {"a": [1]}}
    pair.raw.write(framed(msgspec.msgpack.encode(reported)))
    assert await pair.daemon.receive() == Heartbeat(devtools=0.1, page=0.2)


@pytest.mark.parametrize("sent", [b"", b"\0\0", b"\0\0\0\x09", b"\0\0\0\x09half"])
async def test_a_peer_that_hangs_up_wherever_it_is(pair: Pair, sent: bytes) -> None:
    pair.raw.write(sent)
    pair.worker.close()
    with pytest.raises(EOFError, match="hung up"):
        await pair.daemon.receive()


async def test_what_was_said_before_hanging_up_is_read(pair: Pair) -> None:
    await pair.worker.send(TO_DAEMON[0])
    pair.worker.close()
    assert await pair.daemon.receive() == TO_DAEMON[0]
    with pytest.raises(EOFError):
        await pair.daemon.receive()


async def test_sending_to_a_peer_that_is_gone(pair: Pair) -> None:
    pair.daemon.close()
    with pytest.raises(EOFError):
        await pair.worker.receive()

    async def keep_talking() -> None:
        while True:  # the kernel notices with the first or the second write
            await pair.worker.send(TO_DAEMON[0])

    with pytest.raises(EOFError):
        await asyncio.wait_for(keep_talking(), DEADLINE)


async def test_posting_after_closing_is_lost_silently_and_closing_twice_is_fine(
    pair: Pair,
) -> None:
    pair.worker.close()
    pair.worker.close()
    pair.worker.post(TO_DAEMON[0])
    with pytest.raises(EOFError):
        await pair.daemon.receive()


def test_what_a_worker_gets_at_its_start_survives_json() -> None:
    spec = WorkerSpec(
        instance="f00d",
        session="a",
        generation=1,
        workspace=1,
        profile="/p",
        snapshots="",
        quarantine="",
        snapshot_interval=3600.0,
        cache_limit=1 << 30,
        socket="/s",
        record="/r",
        temporary="/t",
        url="https://web.whatsapp.com/",
        wajs=None,
        executable=None,
        flavour="chromium",
        extra_args=("--x=é",),
        launch_timeout=30.0,
        orphan_grace=60.0,
        heartbeat=1.0,
    )
    assert msgspec.json.decode(msgspec.json.encode(spec), type=WorkerSpec) == spec
    pinned = msgspec.structs.replace(
        spec,
        wajs="/w.js",
        wajs_sha256="0f" * 32,
        document=StoredDocument(revision=1_045_220_589, path="/d"),
        documents="/",
        proxy=parse("socks5://proxy:1080", "me", "hunter2", mark="m"),
    )
    assert "hunter2" not in repr(pinned)
    assert msgspec.json.decode(msgspec.json.encode(pinned), type=WorkerSpec) == pinned


def test_a_worker_of_an_earlier_version_says_nothing_of_versions() -> None:
    said = msgspec.to_builtins(
        Report(session="a", generation=3, phase="ready", link=Link.QR_PENDING)
    )
    del said["version"]
    assert msgspec.convert(said, FromWorker).version is None


@pytest.mark.parametrize(
    "version",
    [
        {"page": -1},
        {"wajs": "0f"},
        {"served_by": "somebody"},
        {"missing": ["x"] * 101},
        {"missing": ["x" * 129]},
        {"spent": "x" * 4_097},
    ],
)
def test_a_version_that_cannot_be_is_not_read(version: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(version, PageVersion)


def test_a_record_without_one_of_its_fields_is_none() -> None:
    with pytest.raises(msgspec.ValidationError, match="start_time"):
        msgspec.json.decode(b'{"pid": 1}', type=WorkerRecord)


def test_every_exit_code_is_explained_and_none_is_that_of_a_crash_of_python() -> None:
    codes = {
        value
        for name, value in vars(exits).items()
        if name.startswith("EXIT_") and isinstance(value, int)
    }
    workers = set(exits.EXIT_MEANINGS) - {0}
    of_daemon = {
        exits.EXIT_FAILED,
        exits.EXIT_USAGE,
        exits.EXIT_HELD,
        exits.EXIT_PORT,
        exits.EXIT_UNHEALTHY,
        exits.EXIT_LEASE_LOST,
    }
    assert codes - workers == of_daemon
    assert not workers & {*of_daemon, 120, 126, 127, 128}
