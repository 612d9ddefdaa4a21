"""``python -m waguard.worker.fork_server FD``: a worker with its imports done, forked on demand.

Imports are most of what a worker costs. This process does them once, keeps what they made for
good, and forks a worker for each message on the socket FD; the pages stay shared. It has no thread
and no event loop, ever: a fork copies neither.

A worker that was forked ahead waits for its instructions (``host/process/spares.py``).

A worker is forked twice, so that it is nobody's child here: it goes to the daemon, which is the
subreaper, and this process can be killed and replaced without a worker noticing. It ends with the
daemon, whose end of the socket closes.
"""

import contextlib
import errno
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

import msgspec

from waguard.core.exits import EXIT_BAD_SPEC
from waguard.errors import ConfigError
from waguard.host.process import garbage, heap
from waguard.host.process.departure import leave
from waguard.host.process.title import Title
from waguard.wire.forking import DESCRIPTORS, LIMIT, Fork, Forked
from waguard.wire.worker import WorkerSpec
from waguard.worker.main import work
from waguard.worker.page import wajs


def main(job: Callable[[WorkerSpec], int] = work) -> NoReturn:
    """Serve until the daemon is gone; in each worker: exit with the code of ``job``."""
    os.umask(0o077)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    title = Title.claim()
    arguments = [sys.executable, "-P", "-m"]
    title.show("waguard.forks", [*arguments, "waguard.worker.fork_server"], {})
    control = socket.socket(fileno=int(sys.argv[1]))
    heap.share()
    heap.hold_nothing()
    with contextlib.suppress(ConfigError):  # the worker that needs it says so
        wajs.bundle(None)
    garbage.keep()
    os.write(sys.stdout.fileno(), b"ready\n")
    if not serve(control):
        leave(0)
    gc.enable()
    title.show("waguard.spare", [*arguments, "waguard.worker.spare"], {})
    try:
        spec = msgspec.json.decode(_instructions(), type=WorkerSpec)
    except msgspec.DecodeError:
        leave(EXIT_BAD_SPEC)  # the daemon gave up, or died: nobody wants this worker
    sys.argv[:] = ["waguard.worker", spec.session]
    title.show("waguard.worker", [*arguments, *sys.argv], spec.marks())
    leave(job(spec))


def serve(control: socket.socket) -> bool:
    """Fork a worker for each request until the daemon is gone: False. In a worker: True."""
    while True:
        try:
            message, descriptors, *_ = socket.recv_fds(control, LIMIT, DESCRIPTORS)
        except ConnectionError:
            return False
        if not message:
            return False
        number = msgspec.json.decode(message, type=Fork).number
        try:
            pid = _fork(descriptors)
        except OSError as error:
            answer = Forked(number=number, pid=0, error=error.errno or errno.EIO)
        else:
            if pid == 0:
                control.detach()  # closed already; its number may be another's soon
                return True
            answer = Forked(number=number, pid=pid)
        for descriptor in descriptors:
            os.close(descriptor)
        with contextlib.suppress(ConnectionError):
            control.send(msgspec.json.encode(answer))


def _fork(descriptors: Sequence[int]) -> int:
    """The pid of a worker that leads its own session and has gone to the subreaper; 0: in it."""
    if len(descriptors) != DESCRIPTORS:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    read_end, write_end = os.pipe()
    try:
        between = os.fork()
    except OSError:
        os.close(read_end)
        os.close(write_end)
        raise
    if between == 0:
        _fork_again()
        _become_worker(descriptors, write_end)
        return 0
    os.close(write_end)
    with open(read_end, "rb") as pipe:  # noqa: PTH123 - a descriptor
        pid = pipe.read()
    # when this returns the worker has its new parent
    _, status = os.waitpid(between, 0)
    if not pid:
        error = os.waitstatus_to_exitcode(status)
        raise OSError(error if error > 0 else errno.EIO, "no worker")
    return int(pid)


def _fork_again() -> None:
    """Returns in the grandchild only."""
    try:
        if os.fork():
            os._exit(0)
    except OSError as error:
        os._exit(error.errno or errno.EIO)


def _become_worker(descriptors: Sequence[int], write_end: int) -> None:
    """A session and a process group of its own, three descriptors, nothing of the server's."""
    try:
        os.setsid()
        for standard, descriptor in enumerate(descriptors):
            os.dup2(descriptor, standard)
        os.write(write_end, b"%d" % os.getpid())
        # a lock of the daemon's that went on living here would keep the next daemon out forever
        for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - read whole before any is closed
            if int(name) >= DESCRIPTORS:
                with contextlib.suppress(OSError):  # the listing's own
                    os.close(int(name))
    except BaseException:  # noqa: BLE001 - it must not go on as a second server
        os._exit(errno.EIO)


def _instructions() -> bytes:
    """All of the standard input, which is /dev/null from then on."""
    with open(os.dup(0), "rb") as pipe:  # noqa: PTH123 - a descriptor
        content = pipe.read()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return content


if __name__ == "__main__":
    main()
