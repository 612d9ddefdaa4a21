"""Inbox records on their way to the database: of session events, and what becomes of their files."""

from collections.abc import Sequence
from typing import Any

from loguru import logger

from waguard.core.messages.inbox import Deferred, EventPayload, InboxRecord, Kind, fitting
from waguard.core.messages.received_media import DEFERRED, handle_of, with_media
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


def fetched_later(record: InboxRecord, *, base: str) -> InboxRecord:
    """The record, whose events say at which address below ``base`` its deferred file will be."""
    if not record.deferred:
        return record
    handle = handle_of(record.session_id, record.deferred.message_id)
    return with_media_of(record, url=f"{base}/api/media/{handle}", error=DEFERRED)


def without_file(record: InboxRecord, why: str, *, base: str) -> InboxRecord:
    """The record, whose file cannot be kept now and is fetched after it; logs why."""
    if not record.file:
        return record
    logger.warning(
        "a file is not kept yet: it is fetched after its message",
        event="media_not_fetched",
        why=why,
        session=record.session_id,
        id=record.key,
    )
    message_id = record.ref[1] if record.ref else record.key
    size = len(record.file.content)
    later = Deferred(message_id=message_id, mimetype=record.file.mimetype, size=size)
    return fetched_later(replace(record, file=None, deferred=later), base=base)


def size_of(records: Sequence[InboxRecord]) -> int:
    """Bytes of what their events say, and of their files."""
    said = sum(len(encoded(event.data)) for record in records for event in record.events)
    return said + sum(len(record.file.content) for record in records if record.file)
