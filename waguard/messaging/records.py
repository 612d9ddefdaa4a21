"""Inbox records on their way to the database: of session events, and what becomes of their files."""

from collections.abc import Sequence
from typing import Any

from loguru import logger

from waguard.core.messages.inbox import EventPayload, InboxRecord, Kind, fitting
from waguard.core.messages.received_media import with_media
from waguard.core.replace import replace
from waguard.core.text.encoded import encoded
from waguard.core.webhooks import delivery
from waguard.ports.bus import BusEvent


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


def size_of(records: Sequence[InboxRecord]) -> int:
    """Bytes of what their events say, and of their files."""
    said = sum(len(encoded(event.data)) for record in records for event in record.events)
    return said + sum(len(record.file.content) for record in records if record.file)
