"""The slots in which workers write their heartbeats: given to each, read at once for all at each tick. And those in which
they read until when they may live."""

import itertools
from pathlib import Path
from typing import Final

from waguard.host.process import procfs
from waguard.wire.heartbeat_slots import (
    LENT,
    SIZE,
    SlotBeat,
    SlotFile,
    SlotLoan,
    changed,
    decode,
    encode_loan,
    number_of,
)

_MOST: Final = 1 << 16  # slots that are read


class Heartbeats:
    """``path``: the file, which an earlier daemon may have left: its workers write on in their slots."""

    def __init__(self, path: Path) -> None:
        self._file = SlotFile(path, create=True)
        self._loans = SlotFile(path.with_name(LENT), create=True)
        self._taken: set[int] = set()
        self._content = b""
        self._found: list[SlotBeat | None] = []

    def assign(self) -> int:
        """A slot that no living worker has, whichever daemon gave it."""
        number = next(n for n in itertools.count() if n not in self._taken and self._is_free(n))
        self._file.write(number, bytes(SIZE))
        self._taken.add(number)
        return number

    def _is_free(self, number: int) -> bool:
        beat = decode(self._file.read(number))
        return beat is None or procfs.start_time(beat.pid) is None

    def adopt(self, pid: int, generation: int) -> int | None:
        """The slot of a living worker of an earlier daemon; None: it has none."""
        number = number_of(self._file.read(0, _MOST), pid, generation)
        if number is not None:
            self._taken.add(number)
        return number

    def lend(self, number: int, loan: SlotLoan) -> bool:
        """Whether it is written where the worker with this slot looks."""
        return self._loans.write(number, encode_loan(loan))

    def release(self, number: int) -> None:
        """Let the slot of a worker that is gone be given to another one."""
        self._taken.discard(number)

    def read(self) -> list[SlotBeat]:
        """What all slots say now: those that were written since the last call."""
        before, self._content = self._content, self._file.read(0, max(self._taken, default=-1) + 1)
        slots, known = len(self._content) // SIZE, self._found
        self._found = [*known[:slots], *(None for _ in range(slots - len(known)))]
        news = list[SlotBeat]()
        for number in changed(before, self._content):
            last, beat = self._found[number], decode(self._content, number)
            self._found[number] = beat
            if beat and number in self._taken and (last is None or beat.at != last.at):
                news.append(beat)
        return news

    def of(self, number: int, pid: int, generation: int) -> SlotBeat | None:
        """What was read of a worker's slot; None: nothing that this worker wrote."""
        beat = self._found[number] if number < len(self._found) else None
        return beat if beat and beat.pid == pid and beat.generation == generation else None


class WorkerSlot:
    """The slot of one session's worker."""

    def __init__(self, slots: Heartbeats) -> None:
        self._slots = slots
        self._generation = 0
        self._read_at = 0.0
        self._obeys: float | None = None
        """What its last heartbeat said of that."""
        self._lent: float | None = None
        """What was lent last."""
        self.number: int | None = None
        """None: heartbeats are only sent."""
        self.heard_at = 0.0
        """When its worker was last heard, monotonic."""

    def begin(self, number: int | None, generation: int = 0) -> None:
        """Read this slot from now on; the one before is released."""
        if self.number is not None:
            self._slots.release(self.number)
        self.number, self._generation = number, generation
        self._read_at = self.heard_at = 0.0
        self._obeys = self._lent = None

    def news(self, pid: int, now: float) -> SlotBeat | None:
        """The heartbeat that was read last, once."""
        if self.number is None:
            return None
        beat = self._slots.of(self.number, pid, self._generation)
        if beat is None or not self._read_at < beat.at <= now:
            return None
        self._read_at, self._obeys = beat.at, beat.obeys
        self.heard_at = max(self.heard_at, beat.at)
        return beat

    def lend(self, pid: int, until: float | None) -> bool:
        """Whether its worker reads with its next heartbeat that it may live until then: it knows what was lent before.
        Otherwise a message has to say it."""
        knows = self._lent is not None and self._obeys == self._lent
        self._lent = until
        if until is None or self.number is None:
            return False
        return self._slots.lend(self.number, SlotLoan(pid, self._generation, until)) and knows
