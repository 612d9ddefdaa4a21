"""Heartbeats without messages: a file in the runtime folder with a slot for each worker, which its daemon reads at once;
and one with as many slots, in which the daemon writes until when each of them may live.

The files' pages are memory that both share. They are written by ``pwrite`` and read by ``pread``, and not mapped: where
a file is truncated, a mapping ends each process that touches it (SIGBUS), and ``pwrite`` makes the file whole again.
"""

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, TypeVar
from zlib import crc32

T = TypeVar("T")

NAME: Final = "heartbeats"
"""The name of the workers' file in the runtime folder."""
LENT: Final = "lent"
"""That of the daemon's, beside it."""
SIZE: Final = 64
"""Bytes of a slot: none lies on two pages."""
_BEAT: Final = struct.Struct("<4sIqdd?dd11x")
_LOAN: Final = struct.Struct("<4sIqd36x")
_OWNER: Final = struct.Struct("<4sIq")
_SUM: Final = struct.Struct("<I")
_SUMMED: Final = SIZE - _SUM.size
_SEALED_BEAT: Final = struct.Struct(f"{_BEAT.format}I")
_SEALED_LOAN: Final = struct.Struct(f"{_LOAN.format}I")
_MAGIC: Final = b"wgh1"
_MAGIC_LOAN: Final = b"wgl1"


class SlotBeat(NamedTuple):
    """What a slot says. ``at``: when it was written, ``page_at``: when the page last answered (0.0: never); seconds by
    CLOCK_MONOTONIC, which all processes of a host share."""

    pid: int
    generation: int
    at: float
    page_at: float = 0.0
    unrecoverable: bool = False
    """As ``Heartbeat.hopeless``."""
    page_took: float = 0.0
    """Seconds until the page answered this heartbeat's probe; 0.0: it did not, or the worker is of a version that
    does not say it."""
    obeys: float = 0.0
    """Until when it lives, as it knows: seconds by CLOCK_BOOTTIME; 0.0: forever, or it is of a version that does not say
    it."""


class SlotLoan(NamedTuple):
    """Until when a worker may live: seconds by CLOCK_BOOTTIME."""

    pid: int
    generation: int
    until: float


def encode(beat: SlotBeat) -> bytes:
    """The bytes of a slot."""
    return _sealed(_BEAT.pack(_MAGIC, *beat))


def encode_loan(loan: SlotLoan) -> bytes:
    """The bytes of a slot of the daemon's."""
    return _sealed(_LOAN.pack(_MAGIC_LOAN, *loan))


def decode(content: bytes, number: int = 0) -> SlotBeat | None:
    """The slot with this number; None: nobody wrote it, or it is damaged."""
    slot = content[number * SIZE : (number + 1) * SIZE]
    if len(slot) < SIZE:
        return None
    magic, *said, total = _SEALED_BEAT.unpack(slot)
    return SlotBeat._make(said) if magic == _MAGIC and total == crc32(slot[:_SUMMED]) else None


def changed(before: bytes, content: bytes) -> list[int]:
    """The numbers of the slots in ``content`` that are not what they were before."""
    whole = len(content) // SIZE * SIZE
    return [
        at // SIZE
        for at in range(0, whole, SIZE)
        if content[at : at + SIZE] != before[at : at + SIZE]
    ]


def decode_loan(content: bytes) -> SlotLoan | None:
    """A slot of the daemon's; None: nobody wrote it, or it is damaged."""
    if len(content) < SIZE:
        return None
    magic, *said, total = _SEALED_LOAN.unpack_from(content)
    is_whole = magic == _MAGIC_LOAN and total == crc32(content[:_SUMMED])
    return SlotLoan._make(said) if is_whole else None


def _sealed(content: bytes) -> bytes:
    return content + _SUM.pack(crc32(content))


def number_of(content: bytes, pid: int, generation: int) -> int | None:
    """The number of the slot that this worker wrote last."""
    at = content.find(_OWNER.pack(_MAGIC, pid, generation))
    number, within = divmod(at, SIZE)
    return number if at >= 0 and not within and decode(content, number) else None


class SlotFile:
    """The file that lies at ``path`` now: it may be removed, and created again, at any time. ``create``: it is created
    where it is missing, and stays open: whoever has no descriptor left still hears all. No method raises."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self._path = path
        self._flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
        self._keeps = create
        self._open: int | None = None

    def _use(self, do: Callable[[int], T], otherwise: T) -> T:
        try:
            if self._open is None or not self._is_there(self._open):
                self.close()
                self._open = os.open(self._path, self._flags, 0o600)
            return do(self._open)
        except OSError:
            return otherwise
        finally:
            if not self._keeps:
                self.close()

    def _is_there(self, opened: int) -> bool:
        try:
            return os.path.samestat(os.fstat(opened), os.lstat(self._path))
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Let go of the file; the next use opens it again."""
        if self._open is not None:
            os.close(self._open)
            self._open = None

    def write(self, number: int, slot: bytes) -> bool:
        """Whether it is in the file now."""
        return self._use(lambda at: os.pwrite(at, slot, number * SIZE) == SIZE, otherwise=False)

    def read(self, number: int = 0, slots: int = 1) -> bytes:
        """As many slots from ``number`` on as there are; where the file cannot be read there is none."""
        return self._use(lambda at: os.pread(at, slots * SIZE, number * SIZE), otherwise=b"")
