"""The worker's slot in the file of heartbeats."""

import os
import time
from pathlib import Path

from waguard.wire.heartbeat_slots import SlotBeat, SlotFile, decode, encode
from waguard.wire.reports import Heartbeat
from waguard.wire.worker import WorkerSpec


class HeartbeatSlot:
    """As long as the worker. It is written by the event loop: a thread would write on while the loop hangs."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._file = SlotFile(Path(spec.heartbeats)) if spec.heartbeats else None
        self._number = spec.slot
        self._generation = spec.generation
        self._page_at = 0.0

    def write(self, heartbeat: Heartbeat) -> int | None:
        """The number of the slot that has it now; None: none has."""
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
        took = heartbeat.page or 0.0
        beat = SlotBeat(pid, self._generation, now, self._page_at, heartbeat.hopeless, took)
        return self._number if self._file.write(self._number, encode(beat)) else None
