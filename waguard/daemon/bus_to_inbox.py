"""From the bus to the inbox: what happens to sessions is stored, and its webhooks queued."""

from collections.abc import Sequence

from loguru import logger

from waguard.core.messages.inbox import InboxRecord
from waguard.core.webhooks import delivery
from waguard.messaging.records import of_event
from waguard.ports.bus import BusEvent
from waguard.ports.inbox import Inbox, ReadyWatch
from waguard.supervision.event_bus import Bus


async def feed(bus: Bus, inbox: Inbox, webhooks: ReadyWatch) -> None:
    """Until the bus closes; one that was cut off for its slowness goes on where it was."""
    last_id: int | None = None
    while not bus.closed:
        async with bus.subscribe(last_id) as events:
            async for event in events:
                last_id = event.id
                if event.stored:
                    continue
                try:
                    _forward(event, inbox, webhooks)
                except Exception:  # noqa: BLE001 - one event is lost, not those after it
                    logger.exception(
                        "an event was not queued", event="bug", what=event.event, id=event.id
                    )


def _forward(event: BusEvent, inbox: Inbox, webhooks: ReadyWatch) -> None:
    session_id = event.session_id
    if event.event in delivery.EVENTS:
        record = of_event(event)
        # where the inbox is full nothing is stored: the session's messages would wait for it for ever
        if session_id and event.event == delivery.READY and not inbox.full:
            webhooks.expect_ready(session_id)

        def stored(news: Sequence[InboxRecord]) -> None:
            if not news and session_id:
                webhooks.not_ready(session_id)

        inbox.put((record,), stored)
    if session_id and event.event in delivery.SESSION_EVENTS:
        webhooks.check(session_id)
