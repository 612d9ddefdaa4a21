import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from tests.host.processes import no_descriptor
from waguard.host.system.systemd import SystemdNotifier

Sent = Callable[[], list[str]]


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Sent]]:
    """A service manager's socket: its address as NOTIFY_SOCKET has it, and what it was sent."""
    path = str(tmp_path / "notify")
    name = path if request.param == "path" else f"@waguard-test-{os.getpid()}-{id(request)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(name.replace("@", "\0") if request.param == "abstract" else name)
        server.settimeout(0)

        def sent() -> list[str]:
            messages = []
            while True:
                try:
                    messages.append(server.recv(4096).decode())
                except BlockingIOError:
                    return messages

        yield name, sent


@pytest.fixture
def reloading(monkeypatch: pytest.MonkeyPatch) -> str:
    """What the beginning of a reload is said by, at this time of the monotonic clock."""
    monkeypatch.setattr("time.clock_gettime_ns", lambda clock: 7_000_123_456)
    return "RELOADING=1\nMONOTONIC_USEC=7000123"


def test_what_a_daemon_says_in_its_life(manager: tuple[str, Sent], reloading: str) -> None:
    address, sent = manager
    notifier = SystemdNotifier({"NOTIFY_SOCKET": address})
    notifier.ready("waiting for the database")
    notifier.status("restored 3")
    notifier.status("restored 3")
    notifier.alive()
    notifier.reloading()
    notifier.ready("configuration read again")
    notifier.status("restored 3")
    notifier.stopping()
    assert sent() == [
        "READY=1\nSTATUS=waiting for the database",
        "STATUS=restored 3",
        "WATCHDOG=1",
        reloading,
        "READY=1\nSTATUS=configuration read again",
        "STATUS=restored 3",
        "STOPPING=1",
    ]


def test_a_manager_that_does_not_read_holds_up_nobody_and_hears_the_news_later(
    manager: tuple[str, Sent], reloading: str
) -> None:
    """The kernel keeps some ten messages (net.unix.max_dgram_qlen); one more would wait for ever."""
    address, sent = manager
    notifier = SystemdNotifier({"NOTIFY_SOCKET": address})
    for number in range(1_000):
        notifier.alive()
        notifier.status(f"{number} connected")
    notifier.reloading()
    notifier.ready("configuration read again")
    notifier.status("all is well")
    sent()
    notifier.alive()
    assert sent() == [
        reloading,
        "READY=1\nSTATUS=configuration read again",
        "STATUS=all is well",
        "WATCHDOG=1",
    ]
    notifier.alive()
    assert sent() == ["WATCHDOG=1"]


def test_what_is_said_arrives_while_no_descriptor_is_left(
    manager: tuple[str, Sent], reloading: str
) -> None:
    address, sent = manager
    notifier = SystemdNotifier({"NOTIFY_SOCKET": address})
    notifier.ready("up")
    with no_descriptor():
        notifier.alive()
        notifier.reloading()
        notifier.stopping()
        notifier.status("stopping")
    assert sent() == [
        "READY=1\nSTATUS=up",
        "WATCHDOG=1",
        reloading,
        "STOPPING=1",
        "STATUS=stopping",
    ]


def test_what_could_not_be_said_while_descriptors_or_memory_were_short_is_said_later(
    manager: tuple[str, Sent], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, sent = manager
    notifier = SystemdNotifier({"NOTIFY_SOCKET": address})
    with no_descriptor():
        notifier.ready("up")
        notifier.alive()
    with monkeypatch.context() as patch:
        refused = OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
        patch.setattr("socket.send_fds", Mock(side_effect=refused))
        notifier.status("restored 3")
    notifier.alive()
    assert sent() == ["READY=1\nSTATUS=up", "STATUS=restored 3", "WATCHDOG=1"]


def test_of_a_socket_that_was_closed_before_it_could_be_given_no_other_one_is_kept(
    manager: tuple[str, Sent],
) -> None:
    address, sent = manager
    notifier = SystemdNotifier({"NOTIFY_SOCKET": address})
    with socket.socket() as listener, no_descriptor():
        notifier.keep("port", listener)
    notifier.stopping()
    assert sent() == ["STOPPING=1"]


def test_a_status_cannot_say_anything_else(manager: tuple[str, Sent]) -> None:
    """A database's error has several lines; each would be an assignment of its own."""
    address, sent = manager
    notifier = SystemdNotifier({"NOTIFY_SOCKET": address})
    notifier.status("no answer\nSTOPPING=1\r\nMAINPID=1")
    notifier.ready("a\nWATCHDOG=trigger")
    assert sent() == ["STATUS=no answer STOPPING=1 MAINPID=1", "READY=1\nSTATUS=a WATCHDOG=trigger"]


def test_a_status_of_any_text(manager: tuple[str, Sent]) -> None:
    address, sent = manager
    SystemdNotifier({"NOTIFY_SOCKET": address}).status("é 👋 \udcff")
    assert sent() == ["STATUS=é 👋 ?"]


@pytest.mark.parametrize(
    "environ",
    [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": "/" + "x" * 200}],
    ids=["none", "empty", "another kind", "too long"],
)
def test_nobody_to_notify(environ: dict[str, str]) -> None:
    notifier = SystemdNotifier(environ)
    notifier.ready("up")
    notifier.alive()
    assert notifier.watchdog is None


def test_a_manager_that_comes_and_goes(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    notifier = SystemdNotifier({"NOTIFY_SOCKET": path})
    notifier.alive()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        notifier.alive()
        assert server.recv(100) == b"WATCHDOG=1"
    notifier.alive()  # the socket's file is still there, and refuses


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": str(os.getpid())}, 2.5),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
    ],
)
def test_how_often_the_manager_wants_to_hear(
    environ: dict[str, str], seconds: float | None
) -> None:
    assert SystemdNotifier(environ).watchdog == seconds
