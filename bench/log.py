"""What a line of the log costs: ``python bench/log.py``.

CPU time of this process, the write and what the kernel does for it included; lines come in bursts of
eight, as when something happens. The smallest of 400 bursts, and their median.
"""

import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from loguru import logger

from waguard.host.system import logs

BURSTS: Final = 400
BURST: Final = 8


def short(number: int) -> None:
    logger.info("worker started", event="worker_started", session="alpha", worker=number)


def long(number: int) -> None:
    why = f"the database mysql://x does not answer: {number}"
    logger.warning("request failed", event="request_failed", path="/api/sessions/a/status", why=why)


def repeated(_: int) -> None:
    logger.warning("request failed", event="request_failed", path="/api/x", why="no answer")


def measure(name: str, say: Callable[[int], None], read: Callable[[], object]) -> None:
    costs, number = [], 0
    for _ in range(BURSTS):
        began = time.process_time()
        for _ in range(BURST):
            say(number)
            number += 1
        costs.append((time.process_time() - began) / BURST * 1e6)
        read()
    costs.sort()
    print(f"{name:<24} {costs[0]:5.1f} µs, median {costs[BURSTS // 2]:5.1f}")


def to_files() -> None:
    for form in ("text", "json"):
        with tempfile.TemporaryFile("w") as out:
            logs.configure("INFO", form, out)
            for say in (short, long, repeated):
                measure(f"{form}, {say.__name__}", say, lambda: None)


def to_a_journal() -> None:
    """One that reads after each burst."""
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryFile("w") as out,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald,
    ):
        path = Path(folder) / "socket"
        journald.bind(str(path))
        found = os.fstat(out.fileno())
        os.environ["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino}"
        logs.configure("INFO", "auto", out, journal_socket=path)

        def read() -> None:
            try:
                while True:
                    journald.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return

        for say in (short, long, repeated):
            measure(f"journal, {say.__name__}", say, read)


if __name__ == "__main__":
    to_files()
    to_a_journal()
    sys.stdout.flush()
