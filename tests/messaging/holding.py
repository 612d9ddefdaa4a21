"""Messages that wait for their session, as tests have them."""

from typing import Any

from tests.messaging.gateway import QUICK, Gateway
from tests.messaging.receiver import event
from tests.waiting import wait_until
from waguard.core.replace import replace
from waguard.core.webhooks.session_gate import Connection
from waguard.ports.bus import BusEvent
from waguard.ports.webhooks import GLOBAL

AWAY = Connection(why_not="it is disconnected")


PATIENT = replace(QUICK, base_delay=60.0, max_delay=60.0)


def ready(number: int, session: str = "a") -> BusEvent:
    return event(number, "session_ready", session=session, phone_number="4917", status="connected")


async def until_held(it: Gateway, count: int, endpoint: str = GLOBAL) -> None:
    await wait_until(
        lambda: (
            endpoint in it.webhooks.queues
            and len(list(it.queue(endpoint).state.all_held())) == count
        ),
        f"{count} chats wait",
    )


def connect(it: Gateway, session: str = "a", **now: Any) -> None:
    """As the supervisor would say it."""
    it.connections[session] = Connection(**now)
    it.webhooks.check(session)
