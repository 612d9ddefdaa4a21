"""What ``ps`` and /proc show of a forked process: its own arguments and marks, not its server's.

The kernel shows the memory that a process was executed with, and a fork keeps it (proc(5): cmdline,
environ). So a server is executed with room at the end of both, and each child writes over it. What a
child gives to the programs that it runs is ``os.environ``, as always.
"""

import ctypes
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

_LIBC: Final = ctypes.CDLL(None)
_VARIABLE: Final = "WAGUARD_ROOM"
_FOR_ARGUMENTS: Final = "." * 160  # a session id has at most 128 characters
_FOR_MARKS: Final = "." * 512
_ARG_START: Final = 45  # field 48 of /proc/PID/stat; arg_end, env_start and env_end follow
_PR_SET_NAME: Final = 15


def with_room(
    argv: Sequence[str], environment: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """What to execute a server with; the room comes last in both."""
    return [*argv, _FOR_ARGUMENTS], {**environment, _VARIABLE: _FOR_MARKS}


class Title:
    """The memory that others see of this process, and of those that are forked from it."""

    def __init__(self, arguments: range, marks: range) -> None:
        self._arguments = arguments
        self._marks = marks

    @classmethod
    def claim(cls) -> Self:
        """Take the room that ``with_room`` made: the variable is gone from ``os.environ``.

        Where there is none, or the kernel does not say, nothing is ever written.
        """
        filler = os.environ.pop(_VARIABLE, None)
        try:
            stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return cls(range(0), range(0))
        arg_start, arg_end, env_start, env_end = map(int, stat[_ARG_START:][:4])
        arguments, marks = range(arg_start, arg_end), range(env_start, env_end)
        if _read(arguments) != _block(sys.orig_argv) or sys.orig_argv[-1] != _FOR_ARGUMENTS:
            arguments = range(0)
        room = _block([f"{_VARIABLE}={filler}"])
        marks = marks[-len(room) :] if filler and _read(marks).endswith(room) else range(0)
        return cls(arguments, marks)

    def show(self, name: str, argv: Sequence[str], marks: Mapping[str, str]) -> None:
        """Be seen with these, and have the marks in ``os.environ``. What does not fit is not shown.

        ``name`` is what ``ps -e`` shows, at most 15 characters.
        """
        os.environ.update(marks)
        _LIBC.prctl(_PR_SET_NAME, os.fsencode(name), 0, 0, 0)
        _write(self._arguments, _block(argv))
        _write(self._marks, _block(f"{key}={value}" for key, value in marks.items()))


def _block(texts: Iterable[str]) -> bytes:
    return b"".join(os.fsencode(text) + b"\0" for text in texts)


def _read(memory: range) -> bytes:
    return ctypes.string_at(memory.start, len(memory))


def _write(memory: range, block: bytes) -> None:
    if len(block) <= len(memory):
        ctypes.memmove(memory.start, block.ljust(len(memory), b"\0"), len(memory))
