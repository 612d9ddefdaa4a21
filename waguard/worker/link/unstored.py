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

LIMIT: Final = 256 << 20  # bytes; files of 64 MB and 10,000 events of some KB are kept at most


class UnstoredEvents:
    """The file of one session and generation: a session that was created again reads another one."""

    def __init__(self, record: Path, generation: int) -> None:
        self._path = record.with_name(f"{record.stem}.{generation}.unstored")

    def read(self) -> list[Event]:
        """What the worker before left; what cannot be read is quarantined."""
        try:
            content = small_file.read(self._path, limit=LIMIT)
            return msgspec.msgpack.decode(content, type=list[Event])
        except FileNotFoundError:
            return []
        except (UnreadableError, ValueError, RecursionError) as error:
            logger.error(
                "unstored events cannot be read: messages may be lost",
                event="unstored_unreadable",
                file=str(self._path),
                why=str(error),
            )
            self._quarantine()
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
        logger.warning(
            "events are kept for the next worker", event="unstored_kept", count=len(events)
        )

    def clear(self) -> None:
        """A daemon has stored them."""
        self._path.unlink(missing_ok=True)

    def _replace(self, events: Sequence[Event]) -> None:
        draft = self._path.with_name(self._path.name + ".new")
        try:
            draft.write_bytes(msgspec.msgpack.encode(events))
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        draft.replace(self._path)

    def _quarantine(self) -> None:
        try:
            small_file.quarantine(self._path)
        except OSError as error:
            logger.error(
                "not quarantined", event="file_not_moved", file=str(self._path), why=error.strerror
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
