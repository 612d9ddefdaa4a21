"""stdout and stderr as commands write to them. Of stdout a reader that left, a full disk and a closed stream are distinguished
from every other error of the system, also by libraries that ignore those.
"""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


class OutputLostError(Exception):
    """What was printed cannot be written. ``read``: as much of it as anybody wanted was."""

    def __init__(self, why: str, *, read: bool) -> None:
        super().__init__(why)
        self.read = read


class Output:
    """A stream whose ``write`` and ``flush`` raise ``OutputLostError``."""

    def __init__(self, stream: IO[Any]) -> None:
        self._stream = stream

    def write(self, text: Any) -> int:
        """See ``IO``."""
        with _losing():
            return self._stream.write(text)

    def flush(self) -> None:
        """See ``IO``."""
        with _losing():
            self._stream.flush()

    @property
    def buffer(self) -> "Output":
        """This output, for bytes."""
        return Output(self._stream.buffer)  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def _losing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        read = isinstance(error, BrokenPipeError)  # `waguard status | head`
        raise OutputLostError(error.strerror or str(error), read=read) from None


@contextlib.contextmanager
def to_whoever_reads() -> Iterator[None]:
    """Within it a reader that leaves ends what is printed, and not the command, whose exit code says more. Raises
    ``OutputLostError`` where it is lost otherwise."""
    try:
        yield
    except OutputLostError as lost:
        if not lost.read:
            raise


def print_lines(*lines: str) -> None:
    """Print them to whoever reads: see ``to_whoever_reads``."""
    with to_whoever_reads():
        for line in lines:
            print(line)


def say(text: str) -> None:
    """Write it to stderr, where what nobody can read is no error: the exit code says enough."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        _to_nowhere(sys.stderr)


def _to_nowhere(stream: IO[Any]) -> None:
    """What it still holds goes there, too: else the end of the interpreter is an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextlib.contextmanager
def stdout() -> Iterator[None]:
    """Within it stdout is an ``Output``; at its end all is written. Raises ``OutputLostError``; what is
    left goes nowhere then, and the interpreter ends silently."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed (`>&-`): it takes everything and keeps nothing
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - to the end of the process
    plain = sys.stdout
    if isinstance(plain, io.TextIOWrapper):  # a terminal that is not UTF-8 has no arrow
        plain.reconfigure(errors="backslashreplace")
    sys.stdout = Output(plain)
    try:
        with _written():
            yield
    except OutputLostError:
        _to_nowhere(plain)
        raise
    finally:
        sys.stdout = plain


@contextlib.contextmanager
def _written() -> Iterator[None]:
    """All that was printed, at the end; what is lost is reported once."""
    try:
        yield
    except OutputLostError:
        raise
    except BaseException:
        sys.stdout.flush()
        raise
    sys.stdout.flush()
