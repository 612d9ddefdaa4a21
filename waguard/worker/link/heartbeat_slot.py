"""The worker's slots in the file of heartbeats, and in its daemon's."""

import os
import time
from pathlib import Path

from waguard.wire.heartbeat_slots import LENT, SlotBeat, SlotFile, decode, decode_loan, encode
from waguard.wire.reports import Heartbeat
from waguard.wire.worker import WorkerSpec
from waguard.worker.lease_end import Deadline


class HeartbeatSlot:
    """As long as the worker. It is written by the event loop: a thread would write on while the loop hangs.
    ``deadline`` is moved where the daemon has lent more."""

    def __init__(self, spec: WorkerSpec, deadline: Deadline) -> None:
        path = Path(spec.heartbeats) if spec.heartbeats else None
        self._file = SlotFile(path) if path else None
        self._loans = SlotFile(path.with_name(LENT)) if path else None
        self._deadline = deadline
        self._number = spec.slot
        self._generation = spec.generation
        self._page_at = 0.0

    def write(self, heartbeat: Heartbeat) -> int | None:
        """The number of the slot that has it now; None: none has. Raises ``OSError`` where the kernel refuses the
        deadline."""
        now, pid = time.monotonic(), os.getpid()
        if heartbeat.page is not None:
            self._page_at = now
        if self._file is None:
            return None
        there = decode(self._file.read(self._number))
        if (
            there and there.pid != pid
        ):  # given to two: each of them would be silent half of the time
            self._file = None
            return None
        took, obeys = heartbeat.page or 0.0, self._follow(pid)
        beat = SlotBeat(pid, self._generation, now, self._page_at, heartbeat.hopeless, took, obeys)
        return self._number if self._file.write(self._number, encode(beat)) else None

    def _follow(self, pid: int) -> float:
        """Live for longer, where the daemon has written so. Never for less: what an earlier daemon wrote may be there, and
        a message says what counts."""
        until = self._deadline.until
        loan = decode_loan(self._loans.read(self._number)) if until and self._loans else None
        if (
            until
            and loan
            and (loan.pid, loan.generation) == (pid, self._generation)
            and loan.until > until
        ):
            self._deadline.move(loan.until)
        return self._deadline.until or 0.0
