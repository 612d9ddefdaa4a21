"""``python -m waguard.worker.fork_server FD``: a worker with its imports done, forked on demand.

Imports are most of what a worker costs. This process does them once, collects and freezes what they
made, and forks a worker for each message on the socket FD; the pages stay shared. It has no thread
and no event loop, ever: a fork copies neither.

A worker is forked twice, so that it is nobody's child here: it goes to the daemon, which is the
subreaper, and this process can be killed and replaced without a worker noticing. It ends with the
daemon, whose end of the socket closes.
"""

import contextlib
import gc
import os
import signal
import socket
import sys
from typing import Final

import msgspec

from waguard.host.title import Title
from waguard.wire.forking import DESCRIPTORS, LIMIT, Fork, Forked
from waguard.wire.protocol import EXIT_BAD_SPEC, WorkerSpec, marks
from waguard.worker import main as worker

_NO_REASON: Final = 5  # EIO; a worker that was killed before it could say its pid


def serve(control: socket.socket) -> bool:
    """Fork until the daemon is gone: False. True: this process is a worker now.

    A worker has its standard descriptors and no other.
    """
    gc.collect()
    gc.disable()
    gc.freeze()
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
            answer = Forked(number=number, pid=pid)
        except OSError as error:
            answer = Forked(number=number, pid=0, error=error.errno or _NO_REASON)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        if pid == 0:
            control.detach()
            return True
        with contextlib.suppress(ConnectionError):
            control.send(msgspec.json.encode(answer))
