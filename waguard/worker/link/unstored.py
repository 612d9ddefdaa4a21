"""Events that no daemon stored before their worker ended: the session's next worker reports them.

The page has acknowledged them, so WhatsApp does not send them again. They lie in the runtime folder,
which the unit keeps in memory: the disk of the database and of the page may be full.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from loguru import logger

from waguard.host import small_file
from waguard.host.small_file import UnreadableError
from waguard.wire.events import Event, InboundMessage

SUFFIX: Final = ".unstored"
LIMIT: Final = 256 << 20  # bytes; files of 64 MB and 10,000 events of some KB are kept at most


def generation_of(path: Path) -> int | None:
    """That of the session's worker which left this file; None: it is none of these files."""
    _, _, rest = path.name.partition(".")
    number = rest.removesuffix(SUFFIX)
    return int(number) if number.isdecimal() else None


class UnstoredEvents:
    """The files of one session: one for each generation, which a start by a person and a new creation raise.

    ``paired_at``: unix time of the pairing. What is older was of the session before, with the same name. None: unknown, and
    only what this generation left is read.
    """

    def __init__(self, record: Path, generation: int, paired_at: float | None = None) -> None:
        self._record = record
        self._generation = generation
        self._paired_at = paired_at
        self._path = record.with_name(f"{record.stem}.{generation}{SUFFIX}")
        self._older: list[Path] = []
        """Files of generations before whose events were read."""

    def read(self) -> list[Event]:
        """What the workers before left; what is damaged is quarantined. Raises ``UnreadableError`` where the system does
        not let it be read now: whoever went on would delete it."""
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
            content = small_file.read(path, limit=LIMIT)
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
        """Keep them for the next worker; without their files where there is no room for these."""
        try:
            self._replace(events)
        except OSError:
            try:
                self._replace([_without_file(event) for event in events])
            except OSError as error:
                logger.error(
                    "events lost: no daemon stored them, and they cannot be kept for the next worker",
                    event="unstored_lost",
                    count=len(events),
                    why=error.strerror,
                )
                return
        else:
            self._clear_older()  # this file has all of theirs now
        logger.warning(
            "events are kept for the next worker", event="unstored_kept", count=len(events)
        )

    def clear(self) -> None:
        """A daemon has stored them."""
        self._path.unlink(missing_ok=True)
        self._clear_older()

    def _clear_older(self) -> None:
        while self._older:
            self._older.pop().unlink(missing_ok=True)

    def _replace(self, events: Sequence[Event]) -> None:
        draft = self._path.with_name(self._path.name + ".new")
        try:
            draft.write_bytes(msgspec.msgpack.encode(events))
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


def _without_file(event: Event) -> Event:
    if not isinstance(event.body, InboundMessage) or event.body.media is None:
        return event
    body = msgspec.structs.replace(
        event.body,
        media=None,
        media_error="there was no space for it while the database was unreachable",
    )
    return msgspec.structs.replace(event, body=body)
