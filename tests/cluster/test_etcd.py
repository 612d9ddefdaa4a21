"""What is etcd's alone: several members, a watch, what its files say."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.certificates import certificates
from tests.cluster.conftest import EtcdBench
from tests.cluster.etcd_servers import Member
from tests.cluster.relay import Relay
from tests.cluster.test_contract import A, assert_unavailable, numbered, watching
from tests.config.configured import loaded
from tests.config.test_cluster import text
from tests.ports import reserved_port
from tests.waiting import DEADLINE, wait_until
from waguard.cluster.etcd import EtcdLeases, connect
from waguard.core.cluster.records import Found
from waguard.errors import ConfigError


@pytest.fixture
async def bench(member: Member) -> AsyncIterator[EtcdBench]:
    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(Relay(("127.0.0.1", member.port)))
        yield EtcdBench(stack, relay, member)


@pytest.fixture
async def through(bench: EtcdBench) -> Callable[..., EtcdLeases]:
    """Leases with these endpoints."""

    def made(*endpoints: str, deadline: float) -> EtcdLeases:
        leases = EtcdLeases(endpoints, bench.installation, deadline=deadline)
        bench.stack.push_async_callback(leases.close)
        return leases

    return made


async def test_a_member_that_is_down_is_passed_over(
    bench: EtcdBench, through: Callable[..., EtcdLeases]
) -> None:
    with reserved_port() as port:
        leases = through(f"http://127.0.0.1:{port}", bench.member.endpoint, deadline=DEADLINE)
        first = await leases.put(A, 0)
        assert first
        assert await leases.read("a") == Found(A, first)
        async with watching(leases.changes()) as changes:
            assert await anext(changes) == [Found(A, first)]


async def test_a_member_that_hangs_leaves_time_for_the_next(
    bench: EtcdBench, through: Callable[..., EtcdLeases]
) -> None:
    """It does what it is asked, and its answer is lost: the next one says that it was done, by us or by another."""
    other = await bench.leases()
    first = await other.put(A, 0)
    assert first
    bench.relay.swallow = b""
    endpoints = (f"http://127.0.0.1:{bench.relay.port}", bench.member.endpoint)
    mine, late = (through(*endpoints, deadline=8.0) for _ in range(2))
    written, refused = await asyncio.gather(
        mine.put(numbered(2), first), late.put(numbered(3), first - 1)
    )
    assert await other.read("a") == Found(numbered(2), written or 0)
    assert refused is None


async def test_what_is_no_etcd_is_unavailable(through: Callable[..., EtcdLeases]) -> None:
    answers = [b"200 OK\r\n", b"404 Not Found\r\n", b"302 Found\r\nLocation: /\r\n"]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = answers[0] + b"Connection: close\r\nContent-Length: 2\r\n\r\n"
        writer.write(b"HTTP/1.1 " + head + b"hi")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        while answers:
            leases = through(f"http://127.0.0.1:{port}", deadline=0.5)
            async with aclosing(leases._events(1)) as events:
                await assert_unavailable(leases.read("a"), anext(events))
            answers.pop(0)


async def test_a_watch_that_hangs_is_noticed(bench: EtcdBench) -> None:
    other = await bench.leases()
    first = await other.put(A, 0)
    assert first
    leases = await bench.leases(relayed=True, idle=0.05)
    async with watching(leases.changes()) as changes:
        await anext(changes)
        waiting = asyncio.ensure_future(anext(changes))
        await wait_until(lambda: bench.relay.has_answered(b"/v3/watch"), "it watches")
        bench.relay.swallow = b"/v3/watch"
        assert await other.put(numbered(2), first)
        await assert_unavailable(waiting)


async def test_a_watch_without_changes_goes_on(
    bench: EtcdBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = await bench.leases(idle=0.01)
    assert await leases.put(A, 0)
    asked: list[int] = []
    ask = leases._all

    async def counted() -> Any:
        asked.append(1)
        return await ask()

    monkeypatch.setattr(leases, "_all", counted)
    async with watching(leases.changes()) as changes:
        await anext(changes)
        waiting = asyncio.ensure_future(anext(changes))
        await wait_until(lambda: len(asked) > 4, "it asks whether it missed something")
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_a_watch_whose_changes_were_compacted_ends(bench: EtcdBench) -> None:
    leases = await bench.leases()
    revision = await leases.put(A, 0)
    assert revision
    for number in range(2, 5):
        revision = await leases.put(numbered(number), revision)
        assert revision
    bench.member.ask("kv/compaction", revision=str(revision - 1))
    async with aclosing(leases._events(revision - 2)) as events:
        await assert_unavailable(anext(events))
    async with watching(leases.changes()) as changes:
        assert await anext(changes) == [Found(numbered(4), revision)]


async def test_clusters_share_one_etcd(bench: EtcdBench) -> None:
    leases = await bench.leases()
    assert await leases.put(A, 0)
    async with AsyncExitStack() as stack:
        for installation in (f"{bench.installation}0", bench.installation[:-1], "other"):
            other = EtcdLeases([bench.member.endpoint], installation, deadline=DEADLINE)
            stack.push_async_callback(other.close)
            assert await other.hosts() == []
            assert await other.read("a") is None


def connected(**keys: Any) -> EtcdLeases:
    return connect(loaded(text(**keys)).cluster, "i")


@pytest.fixture
def files(tmp_path: Path) -> Mapping[str, str]:
    made = certificates(tmp_path)
    keys = {
        "ca_file": str(made.ca),
        "certificate_file": str(made.client),
        "private_key_file": str(made.client_key),
        "user_file": str(tmp_path / "user"),
    }
    Path(keys["user_file"]).touch(mode=0o600)
    Path(keys["user_file"]).write_text("waguard:se:same\nmore\n")
    return keys


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
async def test_its_files_are_read_at_the_start(files: Mapping[str, str]) -> None:
    gateway = connected(**files)._gateway
    assert gateway._login
    assert (gateway._login.user, gateway._login.password) == ("waguard", "se:same")
    assert gateway._tls
    assert connected(endpoints=["http://h"])._gateway._tls is None


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("key", "content"),
    [
        ("ca_file", None),
        ("ca_file", "no PEM"),
        ("certificate_file", None),
        ("certificate_file", "no PEM"),
        ("private_key_file", None),
        ("private_key_file", "no PEM"),
        ("user_file", None),
        ("user_file", ""),
        ("user_file", "waguard\nsesame"),
        ("user_file", ":sesame"),
    ],
)
async def test_a_file_that_cannot_serve_is_refused(
    files: Mapping[str, str], key: str, content: str | None
) -> None:
    path = Path(files[key])
    path.unlink()
    if content is not None:
        path.touch(mode=0o600)
        path.write_text(content)
    with pytest.raises(ConfigError) as refused:
        connected(**files)
    assert refused.value.field in {f"cluster.{key}", "cluster.certificate_file"}
    assert refused.value.remedy
    assert "sesame" not in refused.value.line()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("key", ["private_key_file", "user_file"])
async def test_a_secret_that_others_may_read_is_refused(files: Mapping[str, str], key: str) -> None:
    Path(files[key]).chmod(0o644)
    with pytest.raises(ConfigError) as refused:
        connected(**files)
    assert refused.value.field == f"cluster.{key}"
