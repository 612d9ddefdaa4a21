"""What this host has in memory of sessions of other hosts, from one daemon to the next: no worker has it any more."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from loguru import logger

from waguard.core.cluster.left_events import in_parts
from waguard.core.messages.inbox import InboxRecord
from waguard.errors import one_line
from waguard.host import small_file
from waguard.host.small_file import UnreadableError
from waguard.messaging.left_events import LeftEvents
from waguard.ports.clock import Clock
from waguard.profile import layout
from waguard.worker.link.unstored import DRAFT, FRAME, LIMIT

SUFFIX: Final = ".left"


class LeftMemory:
    """Call ``load`` at the start, ``tidy`` now and then, ``save`` when nothing comes any more. A file stays until nothing is
    left of its session: what its owner has stored already is no news to it."""

    def __init__(
        self, folder: Path, memory: LeftEvents, clock: Clock, *, limit: int = LIMIT
    ) -> None:
        """``limit``: bytes of a file."""
        self._limit = limit
        self._folder = folder
        self._memory = memory
        self._clock = clock
        self._loaded: dict[Path, str] = {}
        """The files that were read, with the session of each."""

    def load(self) -> None:
        """Read what the daemon before has left. What is damaged is quarantined; what the system does not let be read now is
        the next daemon's."""
        for draft in self._folder.glob(f"*{SUFFIX}{DRAFT}"):
            with contextlib.suppress(OSError):  # of a daemon that was killed as it wrote
                draft.unlink()
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            try:
                content = small_file.read(path, limit=self._limit)
                records = msgspec.msgpack.decode(content, type=list[InboxRecord])
            except (UnreadableError, ValueError, RecursionError, OSError) as error:
                logger.error(
                    "unstored events cannot be read",
                    event="file_unreadable",
                    file=str(path),
                    why=str(error),
                )
                if not (isinstance(error, UnreadableError) and error.by_system):
                    with contextlib.suppress(OSError):  # it is reported all the same
                        small_file.quarantine(path)
                continue
            self._memory.keep(records)
            self._loaded[path] = records[0].session_id if records else ""

    async def tidy(self) -> None:
        """Remove the files of sessions of which nothing is left."""
        left = self._memory.counts()
        self._remove([path for path, session in self._loaded.items() if session not in left])

    def save(self) -> None:
        """Write what is left, for the next daemon; blocks."""
        before = dict(self._loaded)
        for session, count in self._memory.counts().items():
            try:
                for path in self._write(session):
                    before.pop(path, None)
            except (OSError, ValueError, TypeError, OverflowError, RecursionError) as error:
                logger.error(
                    "events of a session of another host are not kept for the next daemon",
                    event="inbox_not_stored",
                    session=session,
                    count=count,
                    why=one_line(error),
                )
                before = {path: it for path, it in before.items() if it != session}
            else:
                logger.warning(
                    "events of a session of another host are kept for the next daemon",
                    event="unstored_kept",
                    session=session,
                    count=count,
                )
        self._remove(before)

    def _write(self, session: str) -> Iterator[Path]:
        """Write what is left of it, in files that are read again in this order. Raises ``OSError``, and what ``encode``
        does for what cannot be written."""
        records = self._memory.of(session)
        sizes = [len(msgspec.msgpack.encode(it)) for it in records]
        for number, some in enumerate(in_parts(sizes, most=self._limit - FRAME)):
            name = f"{layout.key(session)}.{self._clock.wall():.0f}.{number:04}{SUFFIX}"
            _replace(self._folder / name, records[some])
            yield self._folder / name

    def _remove(self, paths: Iterable[Path]) -> None:
        for path in paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                logger.error(
                    "not removed", event="file_not_moved", file=str(path), why=error.strerror
                )
            self._loaded.pop(path, None)


def _replace(path: Path, records: Sequence[InboxRecord]) -> None:
    draft = path.with_name(path.name + DRAFT)
    try:
        draft.write_bytes(msgspec.msgpack.encode(records))
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
