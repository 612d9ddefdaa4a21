import contextlib
import os
import socket
import struct
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.host.processes import program
from waguard.api.door import CONNECTIONS
from waguard.errors import ConfigError, PortInUseError
from waguard.host.process import procfs
from waguard.host.system.listen import BACKLOG, HangUps, base_url, listen, public_url

OTHER: Final = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
time.sleep(600)
"""


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")


@contextlib.contextmanager
def listening(host: str, port: int = 0) -> Iterator[socket.socket]:
    with contextlib.closing(listen(host, port)) as listener:
        yield listener


def places(listener: socket.socket) -> int:
    """Connections that may wait in the kernel's queue: tcpi_sacked of tcp(7), where one listens."""
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
    return int(struct.unpack_from("=I", info, 28)[0])


def test_as_many_may_wait_as_may_be_open() -> None:
    most = int(Path("/proc/sys/net/core/somaxconn").read_text())
    with listening("127.0.0.1") as listener:
        assert places(listener) == min(most, BACKLOG)
    assert BACKLOG >= CONNECTIONS


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:{}"),
        ("127.9.8.7", "http://127.9.8.7:{}"),
        ("0.0.0.0", "http://0.0.0.0:{}"),
        pytest.param("::1", "http://[::1]:{}", marks=ipv6),
    ],
)
def test_the_url_leads_to_the_socket(host: str, url: str) -> None:
    with listening(host) as listener:
        port = listener.getsockname()[1]
        assert base_url(listener) == url.format(port)
        address = urllib.parse.urlsplit(base_url(listener))
        assert address.hostname
        assert address.port == port
        socket.create_connection((address.hostname, port), timeout=5).close()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://localhost:{}"),
        pytest.param("::1", "http://localhost:{}", marks=ipv6),
        ("127.9.8.7", "http://127.9.8.7:{}"),  # the name does not lead there
        ("0.0.0.0", "http://this-host:{}"),
        pytest.param("::", "http://this-host:{}", marks=ipv6),
    ],
)
def test_what_others_call_it_by(host: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "this-host")
    with listening(host) as listener:
        port = listener.getsockname()[1]
        assert public_url(None, listener) == url.format(port)
        assert public_url("https://wa.example/a", listener) == "https://wa.example/a"


def test_the_socket_is_for_an_event_loop_and_for_no_child() -> None:
    with listening("127.0.0.1") as listener:
        assert not listener.getblocking()
        assert not listener.get_inheritable()


def test_a_port_of_a_daemon_that_just_died_is_free() -> None:
    """Its connections stay in TIME_WAIT for a minute."""
    with listening("127.0.0.1") as listener:
        address = listener.getsockname()
        client = socket.create_connection(address)
        listener.settimeout(5)
        server, _ = listener.accept()
        server.close()
        client.close()
    with listening("127.0.0.1", address[1]) as again:
        assert again.getsockname() == address


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", pytest.param("::", marks=ipv6)])
def test_a_port_in_use_names_the_process(host: str) -> None:
    with program(OTHER.replace("print(", "print('ready', flush=True); print(")) as other:
        assert other.stdout
        port = int(other.stdout.readline())
        with pytest.raises(PortInUseError) as refused:
            listen(host, port)
    error = refused.value
    assert error.code == 4
    assert error.field == "api.port"
    assert error.line().startswith(f"api.port: port {port} is in use by pid {other.pid} (")
    assert Path(os.path.realpath("/proc/self/exe")).name.startswith("python")
    assert "python" in error.message
    assert error.line().isprintable()


def test_nobody_is_to_stop_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procfs, "listeners", lambda _: [1])
    with (
        listening("127.0.0.1") as first,
        pytest.raises(PortInUseError, match="in use by pid 1 ") as refused,
    ):
        listen("127.0.0.1", first.getsockname()[1])
    assert "stop that process" not in refused.value.line()
    assert "systemctl list-sockets" in refused.value.line()


def test_a_port_in_use_by_oneself_is_named_too() -> None:
    with listening("127.0.0.1") as first:
        port = first.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"pid {os.getpid()} "):
            listen("127.0.0.1", port)


@pytest.mark.parametrize(
    "host",
    [
        *("999.1.1.1", "no.such.host.invalid", "192.0.2.1", "a\0b", "\udcff", "x" * 300, "-", ""),
        *("[::1]", "127.0.0.1:3001", "http://127.0.0.1", "é..x"),
    ],
)
def test_a_host_that_is_none_of_this_machine(host: str) -> None:
    with pytest.raises(ConfigError) as refused:
        listen(host, 0)
    assert refused.value.code == 2
    assert refused.value.field == "api.host"
    assert "127.0.0.1" in refused.value.line()
    assert refused.value.line().isprintable()


def test_without_ipv6_the_host_is_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_family(*_: object) -> socket.socket:
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", no_family)
    with pytest.raises(ConfigError, match="Address family not supported"):
        listen("::1", 0)


def test_a_port_that_only_root_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", denied)
    with pytest.raises(ConfigError) as refused:
        listen("127.0.0.1", 80)
    assert refused.value.field == "api.port"
    assert "1024" in refused.value.line()


def test_those_that_hung_up_are_found_among_many_at_once() -> None:
    pairs, hang_ups = [socket.socketpair() for _ in range(5)], HangUps[int]()
    for number, (ours, _) in enumerate(pairs):
        hang_ups.add(ours, number)
    assert hang_ups.owners() == set()
    pairs[1][1].send(b"unread")
    pairs[1][1].close()
    pairs[2][1].shutdown(socket.SHUT_WR)
    pairs[3][1].close()
    assert hang_ups.owners() == {1, 2, 3}
    hang_ups.remove(2)
    hang_ups.remove(2)
    assert hang_ups.owners() == {1, 3}
    for some in pairs:
        for one in some:
            one.close()
