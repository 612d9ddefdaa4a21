"""Journal and webhooks over a real SQLite file, as a daemon has them; and how they are killed."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.messaging.receiver import INSTANCE, SECRET
from tests.store import template
from waguard.config.sections import Webhook
from waguard.core.messages.inbox import InboxRecord
from waguard.core.metrics.tally import Tally
from waguard.core.replace import replace
from waguard.core.webhooks.account_row_gate import Known
from waguard.core.webhooks.circuit import CircuitPolicy
from waguard.core.webhooks.partition import MemoryWindow
from waguard.core.webhooks.pending import Pending
from waguard.core.webhooks.retry_policy import DeliveryPolicy
from waguard.core.webhooks.session_gate import Connection
from waguard.host.clock import SystemClock
from waguard.host.files.media import MediaFolder
from waguard.messaging.database_backlog import JournalLimits
from waguard.messaging.journal import Journal
from waguard.messaging.records import of_event
from waguard.messaging.stored import StoredMessages
from waguard.messaging.timings import WEBHOOK, WebhookTimings
from waguard.messaging.webhooks import endpoint_queue
from waguard.messaging.webhooks.receiver_table import ReceiverTable
from waguard.messaging.webhooks.webhooks import Webhooks
from waguard.ports.bus import BusEvent
from waguard.ports.clock import Ages, Clock
from waguard.ports.inbox import MediaStore
from waguard.ports.messages import MessageStore
from waguard.ports.webhooks import GLOBAL, DeadLetter
from waguard.store.engine import DEADLINE
from waguard.store.sql import SqlStore

QUICK_CIRCUIT: Final = CircuitPolicy(base_pause=0.001, max_pause=0.001)
QUICK: Final = DeliveryPolicy(
    base_delay=0.001,
    max_delay=0.001,
    refusals=1_000,  # what fails at random is nobody's own fault
    refused_pauses=(0.001,),
    least_refused=0.0,
    unstored_pauses=(0.001,) * 4,
    lookup_pauses=(0.001,) * 7,
    circuit=QUICK_CIRCUIT,
)


IMPATIENT: Final = replace(QUICK, only_chat=0.0)
"""What is refused while nothing else is there is a dead letter at once."""


@dataclass
class Gateway:
    """What takes events and delivers them. ``settings`` can be changed, as a reload would."""

    store: SqlStore
    settings: Webhook
    policy: DeliveryPolicy | None
    """Can be changed, too; None: what the settings say."""
    journal: Journal = field(init=False)
    webhooks: Webhooks = field(init=False)
    news: list[InboxRecord] = field(default_factory=list)
    connections: dict[str, Connection] = field(default_factory=dict)
    """How sessions stand that are not connected; ``check`` after a change."""
    tally: Tally = field(default_factory=Tally)
    lookup: StoredMessages = field(init=False)
    """Of ``webhook.stored``."""

    def put(self, *events: BusEvent) -> None:
        """As one put, which is one transaction."""
        self.journal.put(tuple(of_event(event) for event in events), self.news.extend)

    async def stored(self, *events: BusEvent) -> None:
        """Put, and wait for the commit."""
        self.put(*events)
        assert await self.journal.flushed(10.0)

    async def drained(self) -> bool:
        """Whether everything is stored and delivered, or dead."""
        return await self.journal.flushed(10.0) and await self.webhooks.drain(10.0)

    async def pending(self, endpoint: str = GLOBAL) -> list[Pending]:
        found, _ = await self.store.messages.pending(endpoint, after=0, limit=100_000)
        return found

    async def dead(self) -> list[DeadLetter]:
        return await self.store.messages.dead()

    def queue(self, endpoint: str = GLOBAL) -> endpoint_queue.EndpointQueue:
        return self.webhooks.queues[endpoint]

    def configure(self, **changes: Any) -> None:
        self.settings = msgspec.structs.replace(self.settings, **changes)
        self.webhooks.configure((SECRET,))


@contextlib.asynccontextmanager
async def gateway(
    folder: Path,
    url: str | None,
    *,
    secrets: Sequence[bytes] = (SECRET,),
    policy: DeliveryPolicy | None = QUICK,
    wall: Callable[[], float] = time.time,
    ages: Ages | None = None,
    wrap: Callable[[MessageStore], MessageStore] = lambda store: store,
    files: MediaStore | None = None,
    opened: bool = True,
    patience: float = 20.0,
    limits: JournalLimits | None = None,
    timings: WebhookTimings = WEBHOOK,
    window: MemoryWindow | None = None,
    in_cluster: bool = False,
    deadline: float = DEADLINE,
    clock: Clock | None = None,
    database: str | None = None,
    **settings: Any,
) -> AsyncIterator[Gateway]:
    """Over the database in ``folder``, or over ``database``, which is ready. ``wrap`` may put itself before the store; ``deadline``: s for a look-up, ``clock``:
    that of the checks whether there can be one."""
    path = folder / "w.db"
    url_of_it = database or f"sqlite+aiosqlite:///{path}"
    store = SqlStore(url_of_it, busy_timeout=patience, wall=wall, deadline=deadline)
    store._database.answers_within = 60.0  # ``patience`` is for a lock, not for the machine
    if opened:
        if database is None and not path.exists():
            await template.copy_to(path)
        await store.open()
    made = Gateway(store, Webhook(url=url, **settings), policy)
    messages = wrap(store.messages)
    files = files or MediaFolder(folder / "media")
    made.journal = Journal(
        messages,
        files,
        base=INSTANCE,
        for_global=lambda: made.settings.events if made.settings.url is not None else (),
        limits=limits,
        tally=made.tally,
    )
    clock = clock or SystemClock()
    made.lookup = StoredMessages(store.stored, lambda: made.settings.stored, clock)
    made.webhooks = Webhooks(
        made.journal,
        lambda: made.settings,
        secrets,
        instance_url=INSTANCE,
        connection=lambda session_id: made.connections.get(session_id, Connection()),
        policy=(lambda: made.policy or QUICK) if policy else None,
        wall=wall,
        ages=ages,
        timings=timings,
        window=window,
        table=_table(made, clock) if made.settings.stored else None,
        tally=made.tally,
        in_cluster=in_cluster,
    )
    try:
        async with made.journal, made.webhooks, _ticking(made):
            yield made
    finally:
        await store.close()


@dataclass
class Owner:
    """Of the rows: the session is as the test says it is."""

    made: Gateway
    corrected: list[str] = field(default_factory=list)

    def known(self, session_id: str) -> Known:
        now = self.made.connections.get(session_id, Connection())
        return Known(why_not=now.why_not)

    def record_correction(self, session_id: str, before: str) -> None:
        self.corrected.append(before)

    def repeat_ready(self, session_id: str) -> None:
        self.made.put(event_of_ready(session_id))


def event_of_ready(session_id: str) -> BusEvent:
    data = {"phone_number": "4917", "status": "connected"}
    return BusEvent(
        id=1,
        event="session_ready",
        session_id=session_id,
        workspace_id=1,
        at=time.time(),
        data=data,
    )


def _table(made: Gateway, clock: Clock) -> ReceiverTable:
    return ReceiverTable(
        made.lookup,
        made.store.accounts,
        Owner(made),
        clock,
        expect_ready=lambda session_id: made.webhooks.expect_ready(session_id),  # noqa: PLW0108 - made later
    )


@contextlib.asynccontextmanager
async def _ticking(made: Gateway) -> AsyncIterator[None]:
    """As the daemon does each second."""

    async def tick() -> None:
        while True:
            made.webhooks.check()
            await asyncio.gather(made.webhooks.check_receiver(), made.lookup.check())
            await asyncio.sleep(0.05)

    task = asyncio.create_task(tick(), name="tick") if made.settings.stored else None
    try:
        yield
    finally:
        if task:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def kill(made: Gateway) -> None:
    """As SIGKILL does: nothing more is said, nothing is written, no answer is heard."""
    for one in made.webhooks.queues:
        one.state = replace(one.state, closed=True)
        for save in list(one._tasks):
            save.cancel()
    mine = [t for t in asyncio.all_tasks() if t.get_name().startswith(("webhook", "journal"))]
    for task in mine:
        task.cancel()
    await asyncio.gather(*mine, return_exceptions=True)
