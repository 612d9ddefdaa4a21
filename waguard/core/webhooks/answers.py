"""What follows in a delivery queue from an attempt, and from a look into the receiver's table. Pure."""

from typing import Final, assert_never

from waguard.core.replace import replace
from waguard.core.webhooks import contents, delivery, receiver
from waguard.core.webhooks.delivery import TOO_MANY, Answer, Cause
from waguard.core.webhooks.draft import Draft, replace_pending
from waguard.core.webhooks.facts import (
    Answered,
    Buried,
    Failed,
    Gone,
    Later,
    Looked,
    NotYet,
    Outdated,
    Save,
    SaveLater,
)
from waguard.core.webhooks.partition import Partition, Stage
from waguard.core.webhooks.pending import DeliveryResult
from waguard.core.webhooks.verdict import (
    Dead,
    Delivered,
    LookAgain,
    Retry,
    Tried,
    counted,
    judge,
)

LOGGED_AT: Final = frozenset({1, 2, 5, 10, 30, 60, 120})  # failed attempts that are worth a line


def handle_answer(draft: Draft, fact: Answered) -> None:
    """An attempt has ended."""
    partition = draft.partitions.get(fact.key)
    if partition is None or partition.stage is not Stage.IN_FLIGHT or partition.first.id != fact.id:
        return
    draft.in_flight -= 1
    if draft.handled.get(fact.key[0]) == fact.key:
        del draft.handled[fact.key[0]]
    match fact.outcome:
        case Gone():
            contents.done(draft, partition)
        case Outdated():
            _finish(draft, partition, DeliveryResult(id=fact.id))
        case Later(delay=delay):
            draft.pause(partition, delay, asked=True)
        case NotYet(why=why, works=works, brief=brief):
            if works:
                _succeeded(draft, partition)
            draft.hold(partition, why, brief=brief)
        case Dead() as dead:
            _succeeded(draft, partition)
            _bury(draft, replace(partition, tried_since=None), dead)
        case Answer() as answer:
            _handle(draft, partition, answer)
        case _ as never:
            assert_never(never)


def handle_look(draft: Draft, fact: Looked) -> None:
    """The receiver's table was searched for a message whose request got no complete reply."""
    partition = draft.partitions.get(fact.key)
    if partition is None or partition.stage is not Stage.LOOKING or partition.first.id != fact.id:
        return
    if fact.found:
        _succeeded(draft, partition, stored=True)
        _finish(draft, replace(partition, tried_since=None), DeliveryResult(id=fact.id))
        return
    head, looks = partition.head, draft.policy.looks
    if fact.found is None or head.looked + 1 >= len(looks):
        draft.ready(partition)
        return
    partition = replace(partition, head=replace(head, looked=head.looked + 1))
    draft.to(partition, Stage.LOOKING, due=draft.now.at + looks[head.looked + 1])


def _handle(draft: Draft, partition: Partition, answer: Answer) -> None:
    partition = replace(partition, held_since=None, marked=False)  # its result says so
    partition = _weigh(draft, partition, answer)
    item, attempt = partition.first, partition.first.attempts + 1
    tried = _tried(draft, partition, attempt)
    verdict = judge(draft.policy, draft.receiver, tried, answer, jitter=draft.now.chance)
    match verdict:
        case Delivered(listed=why):
            partition = replace(partition, tried_since=None)
            if why is None:
                _finish(draft, partition, DeliveryResult(id=item.id))
            else:
                _bury(draft, partition, Dead(why, Cause.STORED))
        case Dead():
            _bury(draft, partition, verdict)
            if tried.expired and not answer.refused:
                contents.expire_older(draft, draft.now.expired)
        case Retry() | LookAgain() if delivery.outdated(item.event, _behind(partition)):
            _finish(draft, partition, DeliveryResult(id=item.id))
        case LookAgain():
            looking = replace(partition.head, looked=0)
            partition = _note_failure(draft, partition, answer, 0.0)
            due = draft.now.at + draft.policy.looks[0]
            draft.to(replace(partition, head=looking), Stage.LOOKING, due=due)
        case Retry():
            _retry(draft, partition, answer, verdict)
        case _ as never:
            assert_never(never)


def _weigh(draft: Draft, partition: Partition, answer: Answer) -> Partition:
    """What the answer says about the receiver, and of the message."""
    now = draft.now
    if answer.delivered:
        _succeeded(draft, partition, stored=answer.stored is True)
    elif not answer.refused and answer.status != TOO_MANY:
        draft.receiver = receiver.failed(
            draft.policy.circuit,
            draft.receiver,
            partition.key,
            answer,
            at=now.at,
            wall=now.wall,
            jitter=now.chance,
        )
        head = counted(partition.head, partition.key, draft.receiver, answer, at=now.at)
        return draft.put(replace(partition, head=head))
    return partition


def _succeeded(draft: Draft, partition: Partition, *, stored: bool = False) -> None:
    before = draft.receiver
    if before.unstored and not stored and _any_unstored(draft, partition):
        return  # a receiver that stores nothing says 2xx to everybody
    draft.receiver = receiver.succeeded(before, partition.key, at=draft.now.at, stored=stored)
    if draft.receiver.spells != before.spells:
        _try_refused_again(draft)


def _any_unstored(draft: Draft, but: Partition) -> bool:
    others = (it for it in draft.partitions.values() if it.key != but.key)
    return any(it.head.unstored for it in others)


def _try_refused_again(draft: Draft) -> None:
    """What was refused while it refused everything need not wait for that."""
    for key in list(draft.due):
        partition = draft.partitions[key]
        if partition.stage is Stage.PAUSED and not partition.asked:
            draft.ready(partition)


def _tried(draft: Draft, partition: Partition, attempt: int) -> Tried:
    now, created = draft.now, partition.first.created_at
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


def _retry(draft: Draft, partition: Partition, answer: Answer, verdict: Retry) -> None:
    delay = verdict.delay
    if verdict.everyone:
        draft.receiver = receiver.quiet(draft.receiver, until=draft.now.at + delay)
        delay = 0.0
    elif not verdict.asked and draft.receiver.circuit.opened_until is not None:
        delay = 0.0  # it is the receiver's fault: a message waits for that, and not longer
    partition = _note_failure(draft, partition, answer, delay)
    draft.pause(partition, delay, asked=verdict.asked)


def _note_failure(draft: Draft, partition: Partition, answer: Answer, delay: float) -> Partition:
    item, attempt, why = partition.first, partition.first.attempts + 1, answer.summary()
    if attempt in LOGGED_AT:
        draft.do(Failed(item=item, why=why, attempt=attempt))
    next_at = draft.now.wall + delay
    result = DeliveryResult(
        id=item.id,
        attempts=attempt,
        next_at=next_at,
        error=why,
        tried_since=partition.tried_since,
    )
    draft.do(SaveLater(result=result))
    again = replace_pending(
        item, attempts=attempt, next_at=next_at, tried_since=partition.tried_since, body=None
    )
    return draft.put(replace(partition, waiting=(again, *partition.waiting[1:])))


def _bury(draft: Draft, partition: Partition, dead: Dead) -> None:
    item = partition.first
    draft.do(Buried(item=item, why=dead.why, stored=dead.cause is Cause.STORED))
    attempts = item.attempts + 1
    result = DeliveryResult(id=item.id, attempts=attempts, error=dead.why, cause=dead.cause)
    _finish(draft, partition, result)


def _finish(draft: Draft, partition: Partition, result: DeliveryResult) -> None:
    draft.unsaved += 1
    draft.to(partition, Stage.SAVING)
    draft.do(Save(key=partition.key, result=result))
