"""The way of a session's Chromium to its proxy: what goes through, what is said of a proxy that refuses, who may use it."""

import asyncio
import contextlib
import errno
import os
import socket
import struct
import subprocess
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from unittest.mock import Mock

import pytest

from tests.host.processes import worker_spec
from tests.ports import reserved_port
from tests.proxies import KINDS, PASSWORD, USER, FakeProxy
from tests.silent_names import half_silent
from tests.waiting import wait_until
from waguard.core.link import Link
from waguard.core.proxy import FAILS, Proxy, parse
from waguard.core.session.page_load import Refusal
from waguard.host.system.resolver import Resolver
from waguard.worker.browser.devtools import DevToolsClosedError
from waguard.worker.browser.forwarder import MOST, Forwarder
from waguard.worker.browser.upstream import Stream, Target, connect
from waguard.worker.ending import WorkerEndError
from waguard.worker.page.page_errors import PageNotReadyError, PageUnreachableError
from waguard.worker.page_host import PageHost
from waguard.worker.worker_context import WorkerContext

WHATSAPP = ("web.whatsapp.com", 443)
LONG = 60.0  # s
PYTHON = Path("/usr/bin/python3")  # one that others may run


@asynccontextmanager
async def forwarder(proxy: Proxy, *, answer: float = LONG) -> AsyncIterator[Forwarder]:
    made = await Forwarder(proxy, answer=answer).start()
    try:
        yield made
    finally:
        await made.close()


@asynccontextmanager
async def echo() -> AsyncIterator[tuple[str, int]]:
    """What stands behind the proxy: it gives back what it gets, and ends with who is there."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(1 << 16):
                writer.write(piece)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()


async def asked(door: Forwarder, target: tuple[str, int] = WHATSAPP) -> tuple[Stream, bool]:
    """As Chromium asks; whether the way is open."""
    host, port = target
    stream = Stream(*await asyncio.open_connection("127.0.0.1", door.port))
    async with asyncio.timeout(LONG):
        stream.writer.write(b"\x05\x01\x00")
        assert await stream.reader.readexactly(2) == b"\x05\x00"
        name = bytes((len(host),)) + host.encode()
        stream.writer.write(b"\x05\x01\x00\x03" + name + port.to_bytes(2))
        answer = await stream.reader.readexactly(10)
    return stream, answer[1] == 0


async def refused(door: Forwarder, target: tuple[str, int] = WHATSAPP) -> str:
    """What is said of the proxy then."""
    stream, is_open = await asked(door, target)
    assert not is_open
    stream.writer.close()
    assert door.failure
    assert PASSWORD not in door.failure
    return door.failure


@pytest.mark.parametrize("login", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_what_chromium_says_goes_through_a_proxy_that_resolves_the_name(
    kind: str, *, login: bool
) -> None:
    async with (
        echo() as behind,
        FakeProxy(kind, behind, login=login) as it,
        forwarder(it.proxy()) as door,
    ):
        stream, is_open = await asked(door)
        assert is_open
        sent = os.urandom(300_000)
        stream.writer.write(sent)
        async with asyncio.timeout(LONG):
            assert await stream.reader.readexactly(len(sent)) == sent
        assert it.asked == ["web.whatsapp.com:443"]
        assert door.failure is None
        it.hang_up()
        async with asyncio.timeout(LONG):
            assert await stream.reader.read() == b"", "the end is an end for Chromium, too"
        stream.writer.close()


async def test_each_way_in_which_a_proxy_fails_has_its_words(subtests: pytest.Subtests) -> None:
    async with echo() as behind:
        for kind in KINDS:
            with subtests.test(kind=kind, proxy="dead"), reserved_port() as port:
                dead = parse(f"{kind}://127.0.0.1:{port}", USER, PASSWORD, mark="m")
                async with forwarder(dead) as door:
                    words = f"{FAILS}{kind}://127.0.0.1:{port} accepts no connection: Connection refused"
                    assert await refused(door) == words
            async with FakeProxy(kind, behind, login=True) as it:
                with subtests.test(kind=kind, proxy="with another login"):
                    async with forwarder(it.proxy("wrong")) as door:
                        assert (await refused(door)).endswith(" refuses the login")
                with subtests.test(kind=kind, proxy="with a login that is not known"):
                    without = parse(f"{kind}://127.0.0.1:{it.port}", None, None, mark="m")
                    async with forwarder(without) as door:
                        assert (await refused(door)).endswith(" asks for a login")
                assert it.asked == []
            async with FakeProxy(kind, behind) as it:
                with subtests.test(kind=kind, proxy="that does not lead there"):
                    it.refuses = {"http": 502, "socks5": 4}[kind]
                    said = {"http": "HTTP status 502", "socks5": "the host cannot be reached"}[kind]
                    async with forwarder(it.proxy()) as door:
                        words = f" does not connect to web.whatsapp.com:443: {said}"
                        assert (await refused(door)).endswith(words)
        for kind, words in (
            ("http", "does not answer as an HTTP proxy does"),
            ("socks5", "does not answer as a SOCKS5 proxy does"),
            ("https", "speaks no TLS that can be trusted: "),
        ):
            with subtests.test(kind=kind, proxy="that is none"):
                none = parse(f"{kind}://127.0.0.1:{behind[1]}", None, None, mark="m")
                async with forwarder(none) as door:
                    assert f" {words}" in await refused(door)
        with subtests.test(proxy="with a name"), reserved_port() as port:
            async with forwarder(parse(f"http://localhost:{port}", None, None, mark="m")) as door:
                assert " accepts no connection: " in await refused(door)


async def test_a_name_that_nobody_can_ask_for_is_named(subtests: pytest.Subtests) -> None:
    """Such a proxy is not taken, and what the system makes of others is not for us to know."""
    for kind, host in (("http", "a..b"), ("socks5", "a" * 64), ("https", ".example")):
        with subtests.test(host=host):
            proxy = Proxy(mark="m", scheme=kind, host=host, port=1)  # type: ignore[arg-type] # of KINDS
            async with forwarder(proxy) as door:
                words = " accepts no connection: its name cannot be looked up"
                assert (await refused(door)).endswith(words)


async def test_a_resolver_that_does_not_answer_takes_one_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers, asked_for = threading.Event(), []

    def resolve(host: str, *_: object, **__: object) -> None:
        asked_for.append(host)
        answers.wait(LONG)
        raise socket.gaierror(socket.EAI_AGAIN, "it is dead")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    proxy = parse("http://proxy.example:1", None, None, mark="m")
    try:
        async with forwarder(proxy, answer=0.1) as door:
            for _ in range(3):
                assert (await refused(door)).endswith(" does not answer within 0.1 s")
            await wait_until(lambda: asked_for, "its thread has begun")
            assert asked_for == [proxy.host]
            answers.set()
            await wait_until(lambda: not door._resolver._asked, "it has answered")
            await refused(door)
            await wait_until(lambda: len(asked_for) == 2, "it is asked again")
    finally:
        answers.set()


async def test_a_tunnel_through_a_proxy_that_is_gone_or_stalls_is_given_up() -> None:
    """By the kernel, which takes a minute; here is whether it was asked to."""
    async with echo() as behind, FakeProxy("http", behind) as it:
        proxy = it.proxy()
        made = await connect(proxy, Target(*WHATSAPP), Resolver(), each=LONG)
        its = made.writer.get_extra_info("socket")
        assert its.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        tcp = [
            its.getsockopt(socket.IPPROTO_TCP, option)
            for option in (
                socket.TCP_KEEPIDLE,
                socket.TCP_KEEPINTVL,
                socket.TCP_KEEPCNT,
                socket.TCP_USER_TIMEOUT,
            )
        ]
        assert tcp == [30, 10, 3, 60_000]
        made.writer.close()


async def test_a_kernel_that_does_not_say_whose_a_socket_is_is_named(
    monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    unknown = struct.pack("=IHHIIi", 36, 2, 0, 1, 0, -errno.ENOENT) + bytes(16)
    words = " cannot be used: the kernel does not say whose sockets they are"
    real = socket.socket.recv
    async with FakeProxy("http", ("127.0.0.1", 1)) as it:
        async with forwarder(it.proxy()) as door:
            with subtests.test(kernel="answers for one that is gone"):
                gone = socket.create_connection(("127.0.0.1", door.port))
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                gone.close()
                stream, _ = await asked(door)
                stream.writer.close()
                assert door.failure is None
        for kernel, answer in (
            ("without inet_diag", unknown),
            ("that is silent", TimeoutError()),
            ("of another age", b"\0"),
        ):

            def recv(its: socket.socket, *size: int, answer: object = answer) -> bytes:
                if its.family != socket.AF_NETLINK:
                    return real(its, *size)
                if isinstance(answer, Exception):
                    raise answer
                assert isinstance(answer, bytes)
                return answer

            with subtests.test(kernel=kernel):
                monkeypatch.setattr(socket.socket, "recv", recv)
                async with forwarder(it.proxy()) as door:
                    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
                    async with asyncio.timeout(LONG):
                        with contextlib.suppress(ConnectionError):
                            assert await reader.read() == b""
                    writer.close()
                    assert door.failure
                    assert door.failure.endswith(words)
        assert it.asked == ["web.whatsapp.com:443"], "by the first"


async def test_a_proxy_that_is_silent_is_not_waited_for() -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    with silent:
        proxy = parse(f"http://127.0.0.1:{silent.getsockname()[1]}", None, None, mark="m")
        async with forwarder(proxy, answer=0.2) as door:
            assert (await refused(door)).endswith(" does not answer within 0.2 s")


async def test_a_proxy_of_which_one_address_is_silent_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with echo() as behind, FakeProxy("http", behind) as it:
        with half_silent(it.port, monkeypatch) as name:
            proxy = parse(f"http://{name}:{it.port}", None, None, mark="m")
            async with forwarder(proxy, answer=4.0) as door:
                stream, is_open = await asked(door)
                assert is_open, door.failure
                stream.writer.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_proxy_that_connects_again_fails_no_more(kind: str) -> None:
    async with echo() as behind, FakeProxy(kind, behind) as it, forwarder(it.proxy()) as door:
        it.refuses = {"http": 502, "socks5": 5}[kind]
        stream, is_open = await asked(door, ("accounts.google.com", 443))
        assert not is_open
        assert door.failure is None, "Chromium asks for it, WhatsApp's page does not"
        stream.writer.close()
        assert await refused(door)
        it.refuses = None
        stream, is_open = await asked(door, ("static.whatsapp.net", 443))
        assert is_open
        assert door.failure, "that it leads elsewhere says nothing of where it did not"
        stream.writer.close()
        stream, is_open = await asked(door)
        assert is_open
        assert door.failure is None
        stream.writer.close()


async def test_what_is_no_chromium_is_hung_up_on(subtests: pytest.Subtests) -> None:
    async with FakeProxy("http", ("127.0.0.1", 1)) as it, forwarder(it.proxy()) as door:
        for said in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x05\x01\x00\x05\x02\x00\x01\x7f\0\0\x01\0\x50",  # to listen
            b"\x05\x01\x00\x05\x01\x00\x03\x09a\r\nHost: b\0\x50",
            b"\x05\x01\x00\x05\x01\x00\x09",
            b"\x05",
        ):
            with subtests.test(said=said):
                stream = Stream(*await asyncio.open_connection("127.0.0.1", door.port))
                stream.writer.write(said)
                stream.writer.write_eof()
                async with asyncio.timeout(LONG):
                    answer = await stream.reader.read()
                assert answer in {b"", b"\x05\x00", b"\x05\x00\x05\x01" + b"\0\x01" + bytes(6)}
                stream.writer.close()
        assert it.asked == []
        assert door.failure is None


async def test_connections_are_bounded_and_end_with_the_worker() -> None:
    async with FakeProxy("http", ("127.0.0.1", 1)) as it, forwarder(it.proxy()) as door:
        idle = [await asyncio.open_connection("127.0.0.1", door.port) for _ in range(MOST)]
        await wait_until(lambda: len(door._serving) == MOST, "all are served")
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        async with asyncio.timeout(LONG):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()
        assert door.failure
        assert door.failure.endswith(f" has {MOST} connections, and gets no more")
        await door.close()
        assert door._serving == set()
        for _, one in idle:
            one.close()


_OTHER = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as it:
    try:
        it.sendall(b"\\x05\\x01\\x00")
        print(it.recv(2))
    except ConnectionError:
        print(b"")
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or not PYTHON.exists(), reason="needs root to act for another user"
)
async def test_another_user_of_this_host_is_hung_up_on() -> None:
    async with FakeProxy("http", ("127.0.0.1", 1)) as it, forwarder(it.proxy()) as door:
        for user, answer in ((65534, "b''"), (0, "b'\\x05\\x00'")):
            other = await asyncio.create_subprocess_exec(
                *(PYTHON, "-I", "-c", _OTHER, str(door.port)),
                user=user,
                group=user,
                extra_groups=[],
                cwd="/",
                stdout=subprocess.PIPE,
            )
            async with asyncio.timeout(LONG):
                said, _ = await other.communicate()
            assert said.decode().strip() == answer


async def test_a_page_that_does_not_come_is_the_fault_of_a_proxy_that_fails(tmp_path: Path) -> None:
    """And of nobody else: neither WhatsApp refuses then, nor does the worker end."""
    with reserved_port() as port:
        proxy = parse(f"socks5://127.0.0.1:{port}", USER, PASSWORD, mark="m7")
        ctx = WorkerContext.of(worker_spec(tmp_path, proxy=proxy))
        host = PageHost(ctx, Mock(), Mock(), Mock())
        refusal = PageUnreachableError("no page arrives", Refusal("no page arrives"))
        assert host._unreachable(refusal) is refusal
        with pytest.raises(WorkerEndError):
            host._unreachable(PageNotReadyError("not ready"))
        assert ctx.forwarder
        await ctx.forwarder.start()
        words = await refused(ctx.forwarder)
        for error in (refusal, PageNotReadyError("not ready")):
            found = host._unreachable(error)
            assert (found.message, found.refusal) == (words, None)
        with pytest.raises(WorkerEndError):
            host._unreachable(DevToolsClosedError("the browser is gone"))
        await ctx.forwarder.close()
    ctx.reporter.enter("ready")
    for link, details in ((Link.OFFLINE, words), (Link.CONNECTED, None)):
        ctx.watch.link = link
        ctx.reporter.report()
        report = ctx.daemon._report
        assert report
        assert (report.link, report.details, report.proxy) == (link, details, "m7")
