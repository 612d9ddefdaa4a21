"""What the queues of all endpoints share."""

import random
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct, field

from waguard.core.metrics.tally import Tally
from waguard.core.webhooks.session_gate import Connection
from waguard.messaging.journal import Journal
from waguard.messaging.timings import WEBHOOK
from waguard.messaging.webhooks.call_backs import CallBacks
from waguard.ports.clock import Ages, WallAges
from waguard.ports.messages import MessageStore

LINKING: Final = "its number is compared with the one before"


class DeliveryContext(Struct, frozen=True, kw_only=True):
    """``wall`` is unix time; ``gate`` says why the application would drop a message of this session
    now, None: it would not; ``connection`` how a session stands; ``retry``: seconds until the
    database is asked again."""

    store: MessageStore
    journal: Journal
    gate: Callable[[str], str | None]
    connection: Callable[[str], Connection]
    call_backs: CallBacks
    chance: random.Random = field(default_factory=random.Random)
    wall: Callable[[], float] = time.time
    ages: Ages = field(default_factory=lambda: WallAges(time.time))
    retry: float = WEBHOOK.retry
    tally: Tally = field(default_factory=Tally)
