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
from waguard.core.webhooks import circuit, owned, receiver
from waguard.core.webhooks import queue_memory as contents
from waguard.core.webhooks.answers import handle_answer, handle_lookup, try_refused_again
from waguard.core.webhooks.delivery import HELD, LOOKUP_PAUSE, Cause
from waguard.core.webhooks.facts import (
    Acquired,
    Answered,
    Attempt,
    Closed,
    Configured,
    Dropped,
    Ending,
    Expired,
    Fact,
    GivenUp,
    Leaving,
    Load,
    Loaded,
    Lookup,
    LookupDone,
    Lost,
    Now,
    PartitionLoaded,
    Poked,
    ReadyExpected,
    Released,
    Repaired,
    Requeued,
    Rewound,
    Saved,
    SessionLoaded,
    TimerDue,
)
from waguard.core.webhooks.partition import Partition, PartitionStage, has_lookup
from waguard.core.webhooks.pending import Key
from waguard.core.webhooks.state import CONCURRENT, NOT_ANNOUNCED, Queue, Step, is_announced
from waguard.core.webhooks.work import Work


def advance(queue: Queue, fact: Fact, now: Now) -> Step:
    """The next value, and what the shell does in this order."""
    work = Work(queue, now)
    _handle(work, fact)
    if not work.closed:
        _begin_what_may(work)
    return Step(work.value(), tuple(work.effects))


def _handle(work: Work, fact: Fact) -> None:  # noqa: C901, PLR0912 - one line a fact
    match fact:
        case Poked():
            work.reading = replace(work.reading, more=True)
        case Loaded():
            _loaded(work, fact)
        case PartitionLoaded():
            _partition_loaded(work, fact)
        case Answered():
            handle_answer(work, fact)
        case LookupDone():
            handle_lookup(work, fact)
        case Saved(key=key, id=number):
            if partition := _at(work, key, PartitionStage.SAVING, number):
                work.unsaved -= 1
                contents.done(work, partition)
        case Released(session=session):
            work.release(session)
        case ReadyExpected(session=session, comes=comes) if work.owns(session):
            contents.expect(work, session, comes=comes)
        case Dropped(session=session, before=before):
            for partition in [it for it in work.partitions.values() if it.key[0] == session]:
                contents.drop(work, partition, before)
        case Expired() | GivenUp():
            contents.drop_all(work, fact.includes)
        case Requeued(key=key, newest=newest) if work.owns(key[0]):
            contents.requeue(work, key, newest)
        case ReadyExpected() | Requeued():
            pass  # its owner reads it, or has it read already
        case Acquired(session=session):
            owned.acquired(work, session)
        case SessionLoaded():
            owned.loaded(work, fact)
        case Leaving(session=session):
            owned.leaving(work, session)
        case Lost(session=session):
            owned.lost(work, session)
        case Repaired():
            try_refused_again(work)
        case Rewound():
            owned.read_again(work)
        case TimerDue():
            _timer(work)
        case Configured():
            _configure(work, fact)
        case Ending():
            work.ending = True
        case Closed():
            work.closed = True
        case _:
            raise AssertionError(fact)


def _configure(work: Work, it: Configured) -> None:
    work.policy, work.holds, work.uses_lookup = it.policy, it.holds, it.uses_lookup
    if not it.gets_ready:
        contents.expect_none(work)
    if it.url not in {None, work.url}:
        work.url = it.url
        work.receiver = receiver.replaced(work.receiver)
        try_refused_again(work, asked=True)


def _at(work: Work, key: Key, stage: PartitionStage, number: int) -> Partition | None:
    found = work.partitions.get(key)
    return found if found and found.stage is stage and found.first.id == number else None


def _loaded(work: Work, fact: Loaded) -> None:
    reading = work.reading
    tail = fact.found[-1].id if fact.found else reading.tail
    for item in fact.found:
        if item.id > reading.tail and owned.takes(work, item):
            contents.admit(work, item)
    more = reading.more or not fact.whole
    first_time = fact.whole and not reading.once
    work.reading = replace(
        work.reading, tail=tail, more=more, loading=False, once=reading.once or fact.whole
    )
    if first_time:
        for partition in work.partitions.values():
            if partition.stage is PartitionStage.EARLY:
                work.ready(partition)


def _partition_loaded(work: Work, fact: PartitionLoaded) -> None:
    partition = work.partitions.get(fact.key)
    if partition is None or partition.stage is not PartitionStage.READING:
        return
    work.reading = replace(work.reading, partitions=work.reading.partitions - 1)
    if partition.requeued:
        work.read_on(partition)
    else:
        contents.fill(work, partition, fact.found, fact.until if fact.whole else 0)


def _timer(work: Work) -> None:
    now = work.now.at
    for key in [key for key, due in work.due.items() if due <= now]:
        partition = work.partitions[key]
        if partition.stage is PartitionStage.LOOKUP:
            work.to(partition, PartitionStage.LOOKUP)
            work.do(Lookup(item=partition.first))
        else:
            work.ready(partition)
    work.wake = min(work.due.values(), default=None)


# ---- what is next ----


def _begin_what_may(work: Work) -> None:
    reading = work.reading
    if reading.more and not reading.loading:
        work.reading = replace(reading, more=False, loading=True)
        work.do(Load(after=reading.tail, limit=work.window.read))
    work.next_turns()
    places = _places(work)
    while work.in_flight < places and work.unsaved < CONCURRENT and work.now.can_write:
        partition = _pick(work)
        if partition is None:
            break
        _begin(work, partition)
        if partition.key[0] not in work.handled:
            work.next_turns()
    opens = work.receiver.circuit.opened_until
    if opens is not None and not places and (work.fresh or work.failed):
        work.wake = opens if work.wake is None else min(work.wake, opens)


def _places(work: Work) -> int:
    return circuit.places(work.receiver.circuit, now=work.now.at, most=CONCURRENT)


def _pick(work: Work) -> Partition | None:
    """The newest, the oldest, one that has failed before, in turn."""
    if not (work.fresh or work.failed):
        return None
    for _ in range(3):
        turn = work.picks % 3
        work.picks += 1
        among = work.failed if turn == 2 else work.fresh  # noqa: PLR2004 - of three
        if among:
            key = next(reversed(among)) if turn == 0 else next(iter(among))
            return work.partitions[key]
    return None


def _begin(work: Work, partition: Partition) -> None:
    if (work.ending and not partition.of_session) or not work.delivers(partition.key[0]):
        work.to(partition, PartitionStage.PAUSED)
        return
    first, key = partition.first, partition.key
    doubtful = first.cause == Cause.RESTORED
    if doubtful and not work.uses_lookup:
        work.pause(partition, LOOKUP_PAUSE)
        return
    calls_back = first.event == HELD and work.holds
    if calls_back:
        if not work.reading.once:
            work.to(partition, PartitionStage.EARLY)
            return
        if why := _why_not(work, key):
            work.hold(partition, why)
            return
        if not (work.uses_lookup and has_lookup(first)):
            if key[0] in work.handled:
                work.await_turn(partition)
                return
            work.handled[key[0]] = key
    work.to(partition, PartitionStage.IN_FLIGHT)
    work.in_flight += 1
    lookup_first = work.uses_lookup and (doubtful or partition.head.lookup_first)
    work.do(Attempt(item=first, calls_back=calls_back, lookup_first=lookup_first))


def _why_not(work: Work, key: Key) -> str | None:
    """Why the application would drop a message of this partition now, as far as is known here."""
    if not is_announced(work.announced, key):
        return NOT_ANNOUNCED
    waits = work.held.get(key[0])
    return work.partitions[next(iter(waits))].why if waits else None
