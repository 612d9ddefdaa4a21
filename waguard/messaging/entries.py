"""What is stored of an inbox record: with its webhooks, encoded at once, and what became of its file."""

from collections.abc import Sequence
from typing import Any

from loguru import logger

from waguard.core.messages.inbox import EventPayload, InboxRecord, Kind, fitting
from waguard.core.messages.received_media import with_media
from waguard.core.messages.sent_events import notices
from waguard.core.replace import replace
from waguard.core.webhooks import delivery
from waguard.ports.bus import BusEvent
from waguard.ports.messages import Entry


def entry_of(record: InboxRecord) -> Entry:
    """The record, and its webhooks as they are now."""
    return Entry(received=record, notices=notices(record))


def of_event(event: BusEvent) -> InboxRecord:
    """What is stored of an event that no worker reported: a session's state."""
    return InboxRecord(
        session_id=event.session_id or "",
        workspace_id=event.workspace_id or 0,
        key=fitting(f"{event.event}:{event.id}"),
        kind=Kind.SESSION,
        at=event.at,
        chat=delivery.partition_of(event.event, event.data) or None,
        events=(EventPayload(event.event, event.data),),
    )


def with_file(record: InboxRecord, **media: Any) -> InboxRecord:
    """The record with what became of its file in place of the file."""
    return replace(with_media_of(record, **media), file=None)


def with_media_of(record: InboxRecord, **media: Any) -> InboxRecord:
    """The record, whose events say this of its file."""
    data = (replace(one, data=with_media(one.data, **media)) for one in record.events)
    return replace(record, events=tuple(data))


def without_file(record: InboxRecord, why: str) -> InboxRecord:
    """The record with the reason why its file is left out; logs it."""
    logger.warning(
        "a file is left out",
        event="media_left_out",
        why=why,
        session=record.session_id,
        key=record.key,
    )
    return with_file(record, error=why)


def size_of(entries: Sequence[Entry]) -> int:
    """Bytes of bodies and files."""
    bodies = sum(len(notice.body) for entry in entries for notice in entry.notices)
    return bodies + sum(len(e.received.file.content) for e in entries if e.received.file)
