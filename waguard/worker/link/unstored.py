"""Events that no daemon stored before their worker ended: the session's next worker reports them.

The page has acknowledged them, so WhatsApp does not send them again. They lie in the runtime folder,
which the unit keeps in memory: the disk of the database and of the page may be full.
"""

import contextlib
import errno
import os
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from loguru import logger

from waguard.core.messages.received_media import DEFERRED
from waguard.host import small_file
from waguard.host.small_file import UnreadableError
from waguard.wire.events import Event, InboundMessage

SUFFIX: Final = ".unstored"
DRAFT: Final = ".new"
LIMIT: Final = 256 << 20  # bytes; files of 64 MB and 10,000 events of some KB are kept at most
FRAME: Final = 5  # bytes around a list, at most


def generation_of(path: Path) -> int | None:
    """That of the session's worker which left this file; None: it is none of these files."""
    _, _, rest = path.name.partition(".")
    number = rest.removesuffix(SUFFIX)
    return int(number) if number.isdecimal() else None


class UnstoredEvents:
    """The files of one session: one for each generation, which a start by a person and a new creation raise.

    ``paired_at``: unix time of the pairing. What is older was of the session before, with the same name. None: unknown, and
    only what this generation left is read. ``limit``: bytes of a file.
    """

    def __init__(
        self,
        record: Path,
        generation: int,
        paired_at: float | None = None,
        *,
        limit: int = LIMIT,
    ) -> None:
        self._limit = limit
        self._record = record
        self._generation = generation
        self._paired_at = paired_at
        self._path = record.with_name(f"{record.stem}.{generation}{SUFFIX}")
        self._older: list[Path] = []
        """Files of generations before whose events were read."""

    def read(self) -> list[Event]:
        """What the workers before left; what is damaged is quarantined. Raises ``UnreadableError`` where the system does
        not let it be read now: whoever went on would delete it."""
        for draft in self._record.parent.glob(f"{self._record.stem}.*{SUFFIX}{DRAFT}"):
            with contextlib.suppress(OSError):  # of a worker that was killed as it wrote
                draft.unlink()
        found = list[Event]()
        if self._paired_at is not None:
            for path in self._of_earlier_generations():
                events = self._read(path)
                if events and all(it.at >= self._paired_at for it in events):
                    self._older.append(path)
                    found += events
        return [*found, *self._read(self._path)]

    def _of_earlier_generations(self) -> Sequence[Path]:
        left = self._record.parent.glob(f"{self._record.stem}.*{SUFFIX}")
        found = {number: path for path in left if (number := generation_of(path)) is not None}
        return [found[it] for it in sorted(found) if it < self._generation]

    def _read(self, path: Path) -> list[Event]:
        try:
            content = small_file.read(path, limit=self._limit)
            return msgspec.msgpack.decode(content, type=list[Event])
        except FileNotFoundError:
            return []
        except (UnreadableError, ValueError, RecursionError) as error:
            if isinstance(error, UnreadableError) and error.by_system:
                raise
            logger.error(
                "unstored events cannot be read: messages may be lost",
                event="unstored_unreadable",
                file=str(path),
                why=str(error),
            )
            self._quarantine(path)
            return []

    def write(self, events: Sequence[Event]) -> None:
        """Keep them for the next worker; where there is no room for all of them, what is large or oldest is left out."""
        kept, why = self._keep(events)
        if kept is events:
            self._clear_older()  # this file has all of theirs now
        if lost := len(events) - len(kept):
            logger.error(
                "events lost: no daemon stored them, and they cannot be kept for the next worker",
                event="unstored_lost",
                count=lost,
                why=why,
            )
        if kept:
            logger.warning(
                "events are kept for the next worker", event="unstored_kept", count=len(kept)
            )

    def _keep(self, events: Sequence[Event]) -> tuple[Sequence[Event], str | None]:
        """What is kept of them, and why not all."""
        why = None
        for some in _lighter(events, self._limit):
            try:
                self._replace(some)
            except OSError as error:
                why = error.strerror
            else:
                return some, why
        return (), why

    def clear(self) -> None:
        """A daemon has stored them."""
        _remove(self._path)
        self._clear_older()

    def _clear_older(self) -> None:
        while self._older:
            _remove(self._older.pop())

    def _replace(self, events: Sequence[Event]) -> None:
        content = msgspec.msgpack.encode(events)
        if len(content) > self._limit:  # it would never be read
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        draft = self._path.with_name(self._path.name + DRAFT)
        try:
            draft.write_bytes(content)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        draft.replace(self._path)

    def _quarantine(self, path: Path) -> None:
        try:
            small_file.quarantine(path)
        except OSError as error:
            logger.error(
                "not quarantined", event="file_not_moved", file=str(path), why=error.strerror
            )


def _remove(path: Path) -> None:
    """Where the folder cannot be written the next worker reports its events again; they are stored once."""
    with contextlib.suppress(OSError):
        path.unlink()


def _lighter(events: Sequence[Event], limit: int) -> Iterator[Sequence[Event]]:
    """All of them, then without files, which come later, then without the participants of groups, then the newest that fit ``limit``."""
    yield events
    yield (bare := [_without_file(event) for event in events])
    yield (bare := [_without_participants(event) for event in bare])
    left, newest = limit - FRAME, deque[Event]()
    for event in reversed(bare):
        if (left := left - len(msgspec.msgpack.encode(event))) < 0:
            break
        newest.appendleft(event)
    if newest:
        yield list(newest)


def _without_participants(event: Event) -> Event:
    if not isinstance(event.body, InboundMessage) or not event.body.participants:
        return event
    return msgspec.structs.replace(event, body=msgspec.structs.replace(event.body, participants=()))


def _without_file(event: Event) -> Event:
    if not isinstance(event.body, InboundMessage) or event.body.media is None:
        return event
    body = msgspec.structs.replace(event.body, media=None, deferred=True, media_error=DEFERRED)
    return msgspec.structs.replace(event, body=body)
