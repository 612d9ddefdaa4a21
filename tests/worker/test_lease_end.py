"""The kernel's timer that ends a worker."""

import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tests.waiting import block_until
from waguard.host.clock import since_boot
from waguard.host.process import procfs
from waguard.worker.lease_end import Deadline

SOON = 0.3  # s
FAR = 3_600.0  # s


def forked(do: Callable[[], object]) -> int:
    """A process that does it and then waits; its pid, once it has been done."""
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            do()
            os.write(writes, b"x")
            while True:
                time.sleep(FAR)
        finally:
            os._exit(1)
    os.close(writes)
    assert os.read(reads, 1) in {b"x", b""}
    os.close(reads)
    return pid


def ended_by(pid: int) -> signal.Signals:
    status = block_until(lambda: os.waitpid(pid, os.WNOHANG)[1], "it has ended")
    return signal.Signals(os.WTERMSIG(status))


@pytest.fixture
def killed() -> Iterator[list[int]]:
    pids: list[int] = []
    yield pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.mark.parametrize("stopped", [False, True])
def test_the_timer_ends_a_process_also_one_that_is_stopped(*, stopped: bool) -> None:
    pid = forked(lambda: Deadline().move(since_boot() + SOON))
    if stopped:
        os.kill(pid, signal.SIGSTOP)
    assert ended_by(pid) is signal.SIGKILL


def test_one_that_is_over_ends_it_now() -> None:
    assert ended_by(forked(lambda: Deadline().move(since_boot() - FAR))) is signal.SIGKILL


def test_the_last_move_counts() -> None:
    def move() -> None:
        deadline = Deadline()
        for until in (since_boot() + FAR, since_boot() + SOON):
            deadline.move(until)

    assert ended_by(forked(move)) is signal.SIGKILL


@pytest.mark.parametrize("until", [None, FAR])
def test_one_that_is_moved_on_or_disarmed_ends_nobody(
    killed: list[int], until: float | None
) -> None:
    def move() -> None:
        deadline = Deadline()
        deadline.move(None)
        deadline.move(since_boot() + SOON)
        deadline.move(None if until is None else since_boot() + until)

    killed.append(forked(move))
    over = since_boot() + SOON
    block_until(lambda: since_boot() > over + SOON, "it would have ended")
    assert os.waitpid(killed[0], os.WNOHANG) == (0, 0)


def test_a_child_has_none(killed: list[int]) -> None:
    reads, writes = os.pipe()

    def move() -> None:
        Deadline().move(since_boot() + 4 * SOON)  # it has a child by then
        killed_one = os.fork()
        if killed_one == 0:
            time.sleep(FAR)
        os.write(writes, str(killed_one).encode())

    assert ended_by(forked(move)) is signal.SIGKILL
    child = int(os.read(reads, 20))
    os.close(reads)
    os.close(writes)
    assert procfs.start_time(child)
    os.kill(child, signal.SIGKILL)
