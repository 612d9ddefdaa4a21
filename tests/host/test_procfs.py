import fcntl
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Final

import psutil
import pytest

from tests.host.processes import no_descriptor, program
from tests.waiting import block_until
from waguard.host.process import procfs

pytestmark = pytest.mark.usefixtures("no_child_left")

WAITS: Final = "print('ready', flush=True); input()"

# a name of 15 bytes that ends in the middle of a character, with all that could confuse a parser
NAMED: Final = r"""
import ctypes, os
ctypes.CDLL(None).prctl(15, b") R 1 (\xc3\xa9\xc3\xa9\xc3\xa9\xc3", 0, 0, 0)
print('ready', flush=True); input()
"""


def test_a_process_is_known_by_its_start_time() -> None:
    with program(WAITS) as other:
        started = procfs.start_time(other.pid)
        assert started is not None
        assert started >= (procfs.start_time(os.getpid()) or 0)
        assert procfs.is_same(other.pid, started, procfs.boot_id())
        assert not procfs.is_same(other.pid, started + 1, procfs.boot_id())
        assert not procfs.is_same(other.pid, started, "another boot")
        assert not procfs.is_same(os.getpid(), started - 1, procfs.boot_id())


def test_without_a_descriptor_nothing_is_known_of_a_process() -> None:
    for read in (procfs.living, procfs.start_time, procfs.command_line, procfs.environment):
        with no_descriptor(), pytest.raises(OSError, match="Too many open files"):
            read(os.getpid())
    with no_descriptor():
        assert not procfs.is_stopped(os.getpid())


def test_a_name_with_brackets_and_half_a_character_is_read_past() -> None:
    with program(NAMED) as other:
        stat = Path(f"/proc/{other.pid}/stat").read_bytes()
        assert b"() R 1 (\xc3\xa9\xc3\xa9\xc3\xa9\xc3)" in stat
        assert procfs.start_time(other.pid) == int(stat.rpartition(b")")[2].split()[19])


def test_a_stopped_process_is_alive_and_a_zombie_is_gone() -> None:
    with program(WAITS) as other:
        started = procfs.start_time(other.pid)
        other.send_signal(signal.SIGSTOP)
        block_until(lambda: psutil.Process(other.pid).status() == "stopped", "it stands still")
        assert procfs.start_time(other.pid) == started
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        assert Path(f"/proc/{other.pid}").exists()
        assert procfs.start_time(other.pid) is None
        assert procfs.command_line(other.pid) == []


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1, 2**40])
def test_a_pid_that_nobody_has(pid: int) -> None:
    assert procfs.start_time(pid) is None
    assert procfs.command_line(pid) == []
    assert not procfs.is_same(pid, 1, procfs.boot_id())


def test_a_start_time_as_a_date() -> None:
    ticks = procfs.start_time(os.getpid())
    assert ticks
    assert abs(procfs.started_at(ticks) - psutil.Process().create_time()) < 60
    assert procfs.started_at(ticks) < time.time()


def test_a_command_line_with_anything_in_it() -> None:
    with program(WAITS, "a b", "", "é\n", "\udcff") as other:
        assert procfs.command_line(other.pid) == [
            *(sys.executable, "-c", WAITS, "a b", "", "é\n", "\N{REPLACEMENT CHARACTER}"),
        ]


def test_the_boot_has_a_name() -> None:
    assert len(procfs.boot_id()) == 36
    assert procfs.boot_id() == procfs.boot_id()


def test_who_holds_a_flock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX)\n" + WAITS
    path.touch()
    assert procfs.flock_holder(path) is None
    with program(code, str(path)) as holder:
        assert procfs.flock_holder(path) == holder.pid
        assert procfs.flock_holder(Path(__file__)) is None
    block_until(lambda: procfs.flock_holder(path) is None, "the lock is free")


def test_a_lock_of_another_kind_or_a_waiting_one_is_no_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    posix = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.lockf(f, fcntl.LOCK_EX)\n" + WAITS
    with program(posix, str(path)):
        assert procfs.flock_holder(path) is None
    waits = (
        "import fcntl, sys; f = open(sys.argv[1], 'a'); print('ready', flush=True)\n"
        "fcntl.flock(f, fcntl.LOCK_EX)"
    )
    with path.open("a") as mine:
        fcntl.flock(mine, fcntl.LOCK_EX)
        inode = str(path.stat().st_ino)
        with program(waits, str(path)):
            block_until(
                lambda: any(
                    "->" in line and f":{inode} " in line
                    for line in Path("/proc/locks").read_text().splitlines()
                ),
                "the other waits for the lock",
            )
            assert procfs.flock_holder(path) == os.getpid()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_who_listens_on_a_port(host: str) -> None:
    code = (
        f"import socket; s = socket.create_server(({host!r}, 0))\n"
        "print('ready', flush=True); print(s.getsockname()[1], flush=True); input()"
    )
    with program(code) as other:
        assert other.stdout
        assert procfs.listeners(int(other.stdout.readline())) == [other.pid]


def test_all_that_have_a_listening_socket_are_seen_systemd_last() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as kept,
        program(WAITS, pass_fds=[kept.fileno()]) as other,
    ):
        holders = procfs.listeners(kept.getsockname()[1])
        assert holders == sorted([os.getpid(), other.pid])


def test_a_connection_is_not_a_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert procfs.listeners(port) == [os.getpid()]
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert procfs.listeners(client.getsockname()[1]) == []


def test_nobody_listens_on_a_port_that_is_only_bound() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert procfs.listeners(bound.getsockname()[1]) == []
