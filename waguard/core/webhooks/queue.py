"""The deliveries to one endpoint: in order per partition, a few at a time, behind one circuit. Pure.

Theory of operation: a partition delivers its first and nothing else, so nothing is overtaken and no event
is in flight twice. Partitions alternate: the newest, the oldest, one that has failed before, so that
what the receiver cannot digest is neither the only probe nor the only one tried. A received message
waits (is *held*) while the application would drop it: until its session is connected, and the
receiver knows that. What was delivered is gone from the database before the next one of its partition
begins, and few are delivered without being saved: a crash repeats at most those.

``advance`` takes a fact in, and returns the new value and what the shell does. A fact that comes twice, late or
out of turn does no harm.
"""

from waguard.core.replace import replace
from waguard.core.webhooks import circuit, contents
from waguard.core.webhooks.answers import handle_answer, handle_look
from waguard.core.webhooks.delivery import HELD
from waguard.core.webhooks.draft import Draft
from waguard.core.webhooks.facts import (
    Answered,
    Attempt,
    Closed,
    Configured,
    Dropped,
    Ending,
    Fact,
    Load,
    Loaded,
    Look,
    Looked,
    Now,
    PartitionLoaded,
    Poked,
    ReadyExpected,
    Released,
    Requeued,
    Saved,
    TimerDue,
)
from waguard.core.webhooks.partition import Partition, Stage, is_looked_up
from waguard.core.webhooks.pending import Key
from waguard.core.webhooks.state import CONCURRENT, NOT_ANNOUNCED, Queue, Step, is_announced


def advance(queue: Queue, fact: Fact, now: Now) -> Step:
    """The next value, and what the shell does in this order."""
    draft = Draft(queue, now)
    _handle(draft, fact)
    if not draft.closed:
        _begin_what_may(draft)
    return Step(draft.value(), tuple(draft.effects))


def _handle(draft: Draft, fact: Fact) -> None:  # noqa: C901, PLR0912 - one line a fact
    match fact:
        case Poked():
            draft.reading = replace(draft.reading, more=True)
        case Loaded():
            _loaded(draft, fact)
        case PartitionLoaded():
            _partition_loaded(draft, fact)
        case Answered():
            handle_answer(draft, fact)
        case Looked():
            handle_look(draft, fact)
        case Saved(key=key, id=number):
            if partition := _at(draft, key, Stage.SAVING, number):
                draft.unsaved -= 1
                contents.done(draft, partition)
        case Released(session=session):
            draft.release(session)
        case ReadyExpected(session=session, comes=comes):
            contents.expect(draft, session, comes=comes)
        case Dropped(session=session, before=before):
            for partition in [it for it in draft.partitions.values() if it.key[0] == session]:
                contents.drop(draft, partition, before)
        case Requeued(key=key, newest=newest):
            contents.requeue(draft, key, newest)
        case TimerDue():
            _timer(draft)
        case Configured(policy=policy, holds=holds, looks=looks):
            draft.policy, draft.holds, draft.looks = policy, holds, looks
        case Ending():
            draft.ending = True
        case Closed():
            draft.closed = True
        case _:
            raise AssertionError(fact)


def _at(draft: Draft, key: Key, stage: Stage, number: int) -> Partition | None:
    found = draft.partitions.get(key)
    return found if found and found.stage is stage and found.first.id == number else None


def _loaded(draft: Draft, fact: Loaded) -> None:
    reading = draft.reading
    tail = fact.found[-1].id if fact.found else reading.tail
    for item in fact.found:
        if item.id > reading.tail:
            contents.admit(draft, item)
    more = reading.more or not fact.whole
    first_time = fact.whole and not reading.once
    draft.reading = replace(
        draft.reading, tail=tail, more=more, loading=False, once=reading.once or fact.whole
    )
    if first_time:
        for partition in list(draft.partitions.values()):
            if partition.stage is Stage.EARLY:
                draft.ready(partition)


def _partition_loaded(draft: Draft, fact: PartitionLoaded) -> None:
    partition = draft.partitions.get(fact.key)
    if partition is None or partition.stage is not Stage.READING:
        return
    draft.reading = replace(draft.reading, partitions=draft.reading.partitions - 1)
    if partition.requeued:
        draft.read_on(partition)
    else:
        contents.fill(draft, partition, fact.found, fact.until if fact.whole else 0)


def _timer(draft: Draft) -> None:
    now = draft.now.at
    for key in [key for key, due in draft.due.items() if due <= now]:
        partition = draft.partitions[key]
        if partition.stage is Stage.LOOKING:
            draft.to(partition, Stage.LOOKING)
            draft.do(Look(item=partition.first))
        else:
            draft.ready(partition)
    draft.wake = min(draft.due.values(), default=None)


# ---- what is next ----


def _begin_what_may(draft: Draft) -> None:
    reading = draft.reading
    if reading.more and not reading.loading:
        draft.reading = replace(reading, more=False, loading=True)
        draft.do(Load(after=reading.tail, limit=draft.window.read))
    draft.next_turns()
    places = _places(draft)
    while draft.in_flight < places and draft.unsaved < CONCURRENT and draft.now.can_write:
        partition = _pick(draft)
        if partition is None:
            break
        _begin(draft, partition)
        draft.next_turns()
    opens = draft.receiver.circuit.opened_until
    if opens is not None and not places and (draft.fresh or draft.failed):
        draft.wake = opens if draft.wake is None else min(draft.wake, opens)


def _places(draft: Draft) -> int:
    return circuit.places(draft.receiver.circuit, now=draft.now.at, most=CONCURRENT)


def _pick(draft: Draft) -> Partition | None:
    """The newest, the oldest, one that has failed before, in turn."""
    if not (draft.fresh or draft.failed):
        return None
    for _ in range(3):
        turn = draft.picks % 3
        draft.picks += 1
        among = draft.failed if turn == 2 else draft.fresh  # noqa: PLR2004 - of three
        if among:
            key = next(reversed(among)) if turn == 0 else next(iter(among))
            return draft.partitions[key]
    return None


def _begin(draft: Draft, partition: Partition) -> None:
    if draft.ending and not partition.of_session:
        draft.to(partition, Stage.PAUSED)
        return
    first, key = partition.first, partition.key
    calls_back = first.event == HELD and draft.holds
    if calls_back:
        if not draft.reading.once:
            draft.to(partition, Stage.EARLY)
            return
        if why := _why_not(draft, key):
            draft.hold(partition, why)
            return
        if not (draft.looks and is_looked_up(first)):
            if key[0] in draft.handled:
                draft.await_turn(partition)
                return
            draft.handled[key[0]] = key
    draft.to(partition, Stage.IN_FLIGHT)
    draft.in_flight += 1
    look_first = draft.looks and partition.head.look_first
    draft.do(Attempt(item=first, calls_back=calls_back, look_first=look_first))


def _why_not(draft: Draft, key: Key) -> str | None:
    """Why the application would drop a message of this partition now, as far as is known here."""
    if not is_announced(draft.announced, key):
        return NOT_ANNOUNCED
    waits = draft.held.get(key[0])
    return draft.partitions[next(iter(waits))].why if waits else None
