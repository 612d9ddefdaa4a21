"""What follows from what came of a delivery: it is done, tried again, held, or a dead letter."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from loguru import logger

from waguard.core.webhooks import delivery
from waguard.core.webhooks.delivery import Answer, Dead, Delivered, Retry
from waguard.messaging.webhooks.attempt import NotYet, Outdated, Result
from waguard.messaging.webhooks.delivery_context import DeliveryContext
from waguard.messaging.webhooks.partition_scheduler import PartitionScheduler
from waguard.messaging.webhooks.partitions import Partition
from waguard.messaging.webhooks.receiver_circuit import ReceiverCircuit
from waguard.ports.webhooks import DeliveryResult, Pending

LOGGED_AT: Final = frozenset({1, 2, 5, 10, 30, 60, 120})  # failed attempts that are worth a line


class DeliveryHandler:
    """Of one endpoint. ``pump`` is called when a place is free."""

    def __init__(
        self,
        ctx: DeliveryContext,
        partitions: PartitionScheduler,
        circuit: ReceiverCircuit,
        pump: Callable[[], None],
    ) -> None:
        self._ctx = ctx
        self._partitions = partitions
        self._circuit = circuit
        self._pump = pump
        self.unsaved = 0
        """Results that the database does not have yet."""

    async def handle(self, partition: Partition, item: Pending, result: Result) -> None:
        """``item`` was the first of its partition."""
        match result:
            case None:
                self._partitions.next(partition)
            case Outdated():
                logger.debug(
                    "webhook left out: outdated", session=item.session_id, id=item.event_id
                )
                await self._finish(partition, DeliveryResult(id=item.id))
            case NotYet(why=why, works=works):
                if works:
                    self._circuit.works()
                partition.busy = False
                if item.event == delivery.READY:
                    self._partitions.pauses.begin(partition, self._ctx.retry)
                else:
                    self._partitions.hold(partition, why)
            case Dead():
                await self._dead_letter(partition, result)
            case Answer():
                await self._handle_answer(partition, item, result)

    async def _handle_answer(self, partition: Partition, item: Pending, answer: Answer) -> None:
        ctx, policy, attempt = self._ctx, self._ctx.policy(), item.attempts + 1
        since = max(item.created_at, partition.tried_since or item.created_at)
        decision = delivery.decide(
            policy,
            attempt=attempt,
            age=ctx.ages.age(since),
            answer=answer,
            jitter=ctx.chance.random(),
        )
        log = logger.bind(session=item.session_id, what=item.event, id=item.event_id)
        match decision:
            case Delivered():
                self._circuit.works()
                log.debug("webhook delivered", attempt=attempt)
                partition.tried_since = None
                await self._finish(partition, DeliveryResult(id=item.id))
            case Dead():
                if not answer.works and not answer.refused:
                    self._circuit.fails(policy, answer)
                    self._partitions.expire_older(policy)
                await self._dead_letter(partition, decision, works=answer.works)
            case Retry() if delivery.outdated(item.event, partition.behind()):
                log.debug("webhook left out: outdated")
                await self._finish(partition, DeliveryResult(id=item.id))
            case Retry():
                if attempt in LOGGED_AT:
                    log.warning(
                        "webhook delivery failed",
                        event="webhook_failed",
                        why=answer.summary(),
                        attempt=attempt,
                    )
                self._try_again(
                    partition, item, answer, self._circuit.delay(policy, decision, answer)
                )

    async def _dead_letter(self, partition: Partition, dead: Dead, *, works: bool = True) -> None:
        """``works``: its receiver does."""
        item = partition.waiting[0]
        if works:
            self._circuit.works()
            partition.tried_since = None
        log = logger.bind(session=item.session_id, what=item.event, id=item.event_id)
        log.error("webhook is a dead letter now", event="webhook_dead", why=dead.why)
        attempts = item.attempts + 1
        await self._finish(
            partition,
            DeliveryResult(id=item.id, attempts=attempts, error=dead.why, cause=dead.cause),
        )

    def _try_again(self, partition: Partition, item: Pending, answer: Answer, delay: float) -> None:
        next_at, attempts = self._ctx.wall() + delay, item.attempts + 1
        self._ctx.journal.save_later(
            DeliveryResult(
                id=item.id,
                attempts=attempts,
                next_at=next_at,
                error=answer.summary(),
                tried_since=partition.tried_since,
            )
        )
        partition.waiting[0] = replace(
            item, attempts=attempts, next_at=next_at, tried_since=partition.tried_since, body=None
        )
        partition.busy = False
        self._partitions.pauses.begin(partition, delay)

    async def _finish(self, partition: Partition, result: DeliveryResult) -> None:
        self.unsaved += 1
        self._pump()  # its place is free
        try:
            await self._ctx.journal.save(result)
        finally:
            self.unsaved -= 1
            self._partitions.next(partition)
