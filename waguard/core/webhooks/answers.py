"""What follows in a delivery queue from an attempt, and from a look into the receiver's table. Pure."""

from typing import Final, assert_never

from waguard.core.replace import replace
from waguard.core.webhooks import delivery, receiver
from waguard.core.webhooks import queue_memory as contents
from waguard.core.webhooks.delivery import TOO_MANY, Answer, Cause
from waguard.core.webhooks.facts import (
    Answered,
    DeadLettered,
    Failed,
    Gone,
    Later,
    LookupDone,
    NotYet,
    Outdated,
    Save,
    SaveLater,
)
from waguard.core.webhooks.partition import Partition, PartitionStage
from waguard.core.webhooks.pending import DeliveryResult, delivered
from waguard.core.webhooks.retry_decision import (
    Dead,
    Delivered,
    LookupAgain,
    Retry,
    Tried,
    counted,
    decide,
    is_its_own,
)
from waguard.core.webhooks.work import Work

LOGGED_AT: Final = frozenset({1, 2, 5, 10, 30, 60, 120})  # failed attempts that are worth a line


def handle_answer(work: Work, fact: Answered) -> None:
    """An attempt has ended."""
    partition = work.partitions.get(fact.key)
    if (
        partition is None
        or partition.stage is not PartitionStage.IN_FLIGHT
        or partition.first.id != fact.id
    ):
        return
    work.in_flight -= 1
    if work.handled.get(fact.key[0]) == fact.key:
        work.handled.pop(fact.key[0])
    match fact.outcome:
        case Gone():
            contents.done(work, partition)
        case Outdated():
            _finish(work, partition, delivered(partition.first))
        case Later(delay=delay):
            work.pause(partition, delay, asked=True)
        case NotYet(why=why, works=works, brief=brief):
            if works:
                _succeeded(work, partition)
            work.hold(partition, why, brief=brief)
        case Dead() as dead:
            _succeeded(work, partition)
            _dead_letter(work, replace(partition, tried_since=None), dead)
        case Answer() as answer:
            _handle(work, partition, answer)
        case _ as never:
            assert_never(never)


def handle_lookup(work: Work, fact: LookupDone) -> None:
    """The receiver's table was searched for a message whose request got no complete reply."""
    partition = work.partitions.get(fact.key)
    if (
        partition is None
        or partition.stage is not PartitionStage.LOOKUP
        or partition.first.id != fact.id
    ):
        return
    if fact.found:
        _succeeded(work, partition, stored=True)
        _finish(work, replace(partition, tried_since=None), delivered(partition.first))
        return
    head, pauses = partition.head, work.policy.lookup_pauses
    if fact.found is None or head.lookups + 1 >= len(pauses):
        work.ready(partition)
        return
    partition = replace(partition, head=replace(head, lookups=head.lookups + 1))
    work.to(partition, PartitionStage.LOOKUP, due=work.now.at + pauses[head.lookups + 1])


def _handle(work: Work, partition: Partition, answer: Answer) -> None:
    partition = replace(partition, held_since=None, marked=False)  # its result says so
    partition = _weigh(work, partition, answer)
    item, attempt = partition.first, partition.first.attempts + 1
    tried = _tried(work, partition, attempt)
    decision = decide(work.policy, work.receiver, tried, answer, jitter=work.now.chance)
    match decision:
        case Delivered(listed=why):
            partition = replace(partition, tried_since=None)
            if why is None:
                _finish(work, partition, delivered(item))
            else:
                _dead_letter(work, partition, Dead(why, Cause.STORED))
        case Dead():
            if (
                answer.bug or not tried.expired
            ):  # its own fault says nothing of what waited behind it
                partition = replace(partition, tried_since=None)
            _dead_letter(work, partition, decision)
            if tried.expired and not (answer.refused or answer.bug):
                contents.expire_older(work, work.now.expired)
        case Retry() | LookupAgain() if delivery.outdated(item.event, _behind(partition)):
            _finish(work, partition, delivered(item))
        case LookupAgain():
            searching = replace(partition.head, lookups=0)
            partition = _record_failure(work, partition, answer, 0.0)
            due = work.now.at + work.policy.lookup_pauses[0]
            work.to(replace(partition, head=searching), PartitionStage.LOOKUP, due=due)
        case Retry():
            _retry(work, partition, answer, decision)
        case _ as never:
            assert_never(never)


def _weigh(work: Work, partition: Partition, answer: Answer) -> Partition:
    """What the answer says about the receiver, and of the message."""
    now = work.now
    if answer.delivered:
        _succeeded(work, partition, stored=answer.stored is True)
    elif not (answer.refused or answer.bug) and answer.status != TOO_MANY:
        head = counted(work.policy, work.receiver, partition.head, partition.key, answer, at=now.at)
        work.receiver = receiver.failed(
            work.policy.circuit,
            work.receiver,
            partition.key,
            answer,
            at=now.at,
            wall=now.wall,
            jitter=now.chance,
            first=partition.head.spell < 0,
            own=is_its_own(head, answer),
        )
        return work.put(replace(partition, head=head))
    return partition


def _succeeded(work: Work, partition: Partition, *, stored: bool = False) -> None:
    before = work.receiver
    if before.unstored and not stored and _any_unstored(work, partition):
        return  # a receiver that stores nothing says 2xx to everybody
    work.receiver = receiver.succeeded(before, partition.key, at=work.now.at, stored=stored)
    if work.receiver.spells != before.spells:
        try_refused_again(work)


def _any_unstored(work: Work, but: Partition) -> bool:
    others = (it for it in work.partitions.values() if it.key != but.key)
    return any(it.head.unstored and it.head.by_itself is not Cause.UNSTORED for it in others)


def try_refused_again(work: Work, *, asked: bool = False) -> None:
    """What was refused while the receiver refused everything need not wait for that; ``asked``: nor for the time that an
    earlier receiver named."""
    for key in list(work.due):
        partition = work.partitions[key]
        if partition.stage is PartitionStage.PAUSED and (asked or not partition.asked):
            work.ready(partition)


def _tried(work: Work, partition: Partition, attempt: int) -> Tried:
    now, created = work.now, partition.first.created_at
    since = max(created, partition.tried_since or created)
    return Tried(
        key=partition.key,
        head=partition.head,
        attempt=attempt,
        at=now.at,
        since=now.at - max(0.0, now.wall - since),
        expired=since <= now.expired,
        long=since <= now.long,
    )


def _behind(partition: Partition) -> list[str]:
    return [item.event for item in partition.waiting[1:]]


def _retry(work: Work, partition: Partition, answer: Answer, decision: Retry) -> None:
    delay = decision.delay
    if decision.everyone:
        work.receiver = receiver.quiet(work.receiver, until=work.now.at + delay)
        delay = 0.0
    elif not decision.asked and work.receiver.circuit.opened_until is not None:
        delay = 0.0  # it is the receiver's fault: a message waits for that, and not longer
    partition = _record_failure(work, partition, answer, delay)
    work.pause(partition, delay, asked=decision.asked)


def _record_failure(work: Work, partition: Partition, answer: Answer, delay: float) -> Partition:
    item, attempt, why = partition.first, partition.first.attempts + 1, answer.summary()
    if attempt in LOGGED_AT:
        work.do(Failed(item=item, why=why, attempt=attempt))
    next_at = work.now.wall + delay
    result = DeliveryResult(
        id=item.id,
        event_id=item.event_id,
        attempts=attempt,
        next_at=next_at,
        error=why,
        tried_since=partition.tried_since,
        cause=partition.head.by_itself,
    )
    work.do(SaveLater(result=result))
    again = replace(item, attempts=attempt, next_at=next_at, tried_since=partition.tried_since)
    return work.put(replace(partition, waiting=(again, *partition.waiting[1:])))


def _dead_letter(work: Work, partition: Partition, dead: Dead) -> None:
    item = partition.first
    work.do(DeadLettered(item=item, why=dead.why, stored=dead.cause is Cause.STORED))
    attempts = item.attempts + 1
    result = DeliveryResult(
        id=item.id, event_id=item.event_id, attempts=attempts, error=dead.why, cause=dead.cause
    )
    _finish(work, partition, result)


def _finish(work: Work, partition: Partition, result: DeliveryResult) -> None:
    work.unsaved += 1
    work.to(partition, PartitionStage.SAVING)
    work.do(Save(key=partition.key, result=result))
