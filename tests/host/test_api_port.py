"""The listening socket that a service manager hands over."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from waguard.errors import ConfigError
from waguard.host.system.api_port import ACTIVATED, KEPT, ApiPort
from waguard.host.system.systemd import SystemdNotifier

FIRST = 600
"""A descriptor that nothing here has."""


class Manager:
    """Stands for systemd: hands over, and hears what is to be kept."""

    def __init__(self, folder: Path) -> None:
        self._heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._heard.bind(str(folder / "notify"))
        self._heard.settimeout(0)
        self.notifier = SystemdNotifier({"NOTIFY_SOCKET": str(folder / "notify")})
        self.environ: dict[str, str] = {}
        self._given: list[socket.socket] = []

    def hand(self, names: list[str], sockets: list[socket.socket]) -> None:
        for number, one in enumerate(sockets):
            os.dup2(one.fileno(), FIRST + number)  # inheritable, as systemd's are
        self.environ = {
            "LISTEN_PID": str(os.getpid()),
            "LISTEN_FDS": str(len(sockets)),
            "LISTEN_FDNAMES": ":".join(names),
            "OTHER": "stays",
        }

    def open(self, port: int, host: str = "127.0.0.1") -> ApiPort:
        return ApiPort.open(host, port, self.notifier, self.environ, first=FIRST)

    def heard(self) -> list[tuple[str, list[socket.socket]]]:
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                text, descriptors, _, _ = socket.recv_fds(self._heard, 4096, 8)
                kept = [socket.socket(fileno=descriptor) for descriptor in descriptors]
                self._given += kept
                found.append((text.decode(), kept))
        return found

    def close(self) -> None:
        for one in (self._heard, *self._given):
            one.close()


@pytest.fixture
def manager(short_path: Path) -> Iterator[Manager]:
    made = Manager(short_path)
    yield made
    made.close()


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def is_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False


def test_a_new_one_is_kept(manager: Manager) -> None:
    taken = manager.open(0)
    ((text, (copy,)),) = manager.heard()
    assert text == f"FDSTORE=1\nFDNAME={KEPT}"
    assert copy.getsockname() == taken.socket.getsockname()
    assert not taken.activated
    taken.socket.close()
    assert is_open(port_of(copy))  # who comes now waits
    manager.hand([KEPT], [copy])
    again = manager.open(port_of(copy))
    assert again.socket.getsockname() == copy.getsockname()
    assert manager.heard() == []
    again.socket.close()


@pytest.mark.parametrize("port", [0, None])
def test_one_that_was_handed_over_is_used_and_no_child_gets_it(
    manager: Manager, port: int | None
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as kept:
        manager.hand([KEPT], [kept])
        taken = manager.open(port_of(kept) if port is None else port)
        assert taken.socket.getsockname() == kept.getsockname()
        assert taken.socket.fileno() == FIRST
        assert not os.get_inheritable(FIRST)
        assert not taken.socket.getblocking()
        assert manager.environ == {"OTHER": "stays"}
        taken.socket.close()


def test_of_another_address_the_old_one_is_closed(manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as kept:
        manager.hand([KEPT], [kept])
        taken = manager.open(0, "127.0.0.2")
        assert taken.socket.getsockname()[0] == "127.0.0.2"
        assert not is_open(port_of(kept))  # whoever else has a copy of it
        forgotten, (stored, _) = manager.heard()
        assert forgotten == (f"FDSTOREREMOVE=1\nFDNAME={KEPT}", [])
        assert stored.startswith("FDSTORE=1\n")
        taken.socket.close()


def test_systemd_listens_itself(manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        manager.hand([ACTIVATED], [listening])
        taken = manager.open(port_of(listening))
        assert taken.activated
        assert manager.heard() == []
        taken.socket.close()
        manager.hand([ACTIVATED], [listening])
        with pytest.raises(ConfigError, match=ACTIVATED) as refused:
            manager.open(port_of(listening), "127.0.0.2")
        assert refused.value.field == "api.port"
        assert is_open(port_of(listening))


def test_what_else_was_handed_over_is_closed(manager: Manager) -> None:
    with (
        socket.socket() as no_listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
        socket.create_server(("127.0.0.1", 0)) as of_nobody,
    ):
        manager.hand([KEPT, "x"], [no_listener, datagrams, of_nobody])
        taken = manager.open(0)
        assert [text.partition("=")[0] for text, _ in manager.heard()] == [
            *("FDSTOREREMOVE",) * 3,
            "FDSTORE",
        ]
        for number in range(3):
            with pytest.raises(OSError):  # noqa: PT011 - the number is all there is
                os.fstat(FIRST + number)
        taken.socket.close()


@pytest.mark.parametrize("pid", ["", "1", "x"])
def test_what_was_meant_for_another_process_is_not_touched(manager: Manager, pid: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as kept:
        manager.hand([KEPT], [kept])
        manager.environ["LISTEN_PID"] = pid
        taken = manager.open(0)
        assert port_of(taken.socket) != port_of(kept)
        assert manager.environ == {"OTHER": "stays"}
        os.close(FIRST)
        taken.socket.close()
