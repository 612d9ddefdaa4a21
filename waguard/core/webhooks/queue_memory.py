"""What of a delivery queue is in memory: read from the database, left out, given up, done with. Pure."""

from collections.abc import Callable

from waguard.core.replace import replace
from waguard.core.webhooks.delivery import HELD, READY, SESSION_EVENTS, Cause
from waguard.core.webhooks.facts import SaveLater
from waguard.core.webhooks.partition import Partition, PartitionStage, has_lookup
from waguard.core.webhooks.pending import DeliveryResult, Key, Pending
from waguard.core.webhooks.retry_decision import OWN_FAULTS, Head
from waguard.core.webhooks.retry_policy import given_up
from waguard.core.webhooks.state import EXPECTED
from waguard.core.webhooks.work import Work, left_out


def admit(work: Work, item: Pending) -> None:
    """Add what the database has; a partition that has something to begin with now goes on."""
    _record_announcement(work, item)
    partition = work.partitions.get(item.key)
    if partition and item.id <= partition.loaded:
        return  # it was read with its partition
    if partition is None:
        partition = _known(work, item)
    elif item.event in SESSION_EVENTS:
        partition = _leave_out_outdated(work, partition)
    is_first = not partition.waiting and not partition.busy
    has_room = len(partition.waiting) < work.window.partition and work.count < work.window.memory
    if not partition.more and (is_first or (has_room and partition.held_since is None)):
        partition = _appended(work, partition, (item,))
    partition = work.put(replace(partition, newest=max(partition.newest, item.id)))
    if is_first:
        go_on(work, partition)


def fill(work: Work, partition: Partition, found: tuple[Pending, ...], loaded: int) -> None:
    """Add what was read for a partition; all up to the id ``loaded`` is known."""
    partition = _appended(work, partition, found)
    partition = work.put(replace(partition, loaded=max(partition.loaded, loaded)))
    go_on(work, partition)


def done(work: Work, partition: Partition) -> None:
    """The partition's first is done with: it goes on with the next one."""
    go_on(work, _popped(work, partition))


def go_on(work: Work, partition: Partition) -> None:
    """With its next one, after what has expired."""
    while (limit := partition.expire_before) is not None and partition.waiting:
        if partition.first.created_at > limit:
            break
        first = partition.first
        why = given_up(work.policy, first.attempts, "see the ones before")
        expired = DeliveryResult(
            id=first.id,
            event_id=first.event_id,
            attempts=first.attempts,
            error=why,
            cause=Cause.EXPIRED,
        )
        work.do(SaveLater(result=expired))
        partition = _popped(work, partition)
    if partition.waiting and not partition.requeued:
        work.resume(partition)
    else:
        work.read_on(partition)


def drop(work: Work, partition: Partition, before: float) -> None:
    """Forget its received messages that were queued before then (unix time). One that is in flight stays."""
    _drop(work, partition, lambda item: item.event == HELD and item.created_at < before)


def drop_all(work: Work, is_dead: Callable[[Pending], bool]) -> None:
    """Forget all that are dead letters. What is in flight stays."""
    for key in list(work.partitions):
        if partition := work.partitions.get(key):
            _drop(work, partition, is_dead)


def _drop(work: Work, partition: Partition, is_dead: Callable[[Pending], bool]) -> None:
    busy = partition.waiting[:1] if partition.busy else ()
    later = partition.waiting[len(busy) :]
    dead = [item for item in later if is_dead(item)]
    kept = (*busy, *(item for item in later if not is_dead(item)))
    same_first = kept[:1] == partition.waiting[:1]
    after = work.put(replace(partition, waiting=kept))
    if not same_first:
        go_on(work, work.put(replace(after, head=Head(), held_since=None, marked=False)))
    for item in dead:
        _forget(work, item)


def requeue(work: Work, key: Key, newest: int) -> None:
    """Read it from its beginning: what was dead is before what waits."""
    partition = work.partitions.get(key) or Partition(key=key, stage=PartitionStage.PAUSED)
    partition = replace(partition, requeued=True, newest=max(partition.newest, newest))
    if partition.busy:
        work.put(partition)
    else:
        work.read_on(replace(partition, head=Head(), held_since=None, marked=False))


def expire_older(work: Work, limit: float) -> None:
    """What is tried since then (unix time) or longer is given up without one more try."""
    for partition in list(work.partitions.values()):  # one that has expired leaves them
        since = partition.tried_since
        if not partition.busy and partition.held_since is None and since and since <= limit:
            go_on(work, work.put(replace(partition, expire_before=limit)))


def _known(work: Work, first: Pending) -> Partition:
    # an earlier daemon may have ended between the delivery and its commit: of each partition one
    again = not (work.reading.once and work.delivers(first.session_id)) and has_lookup(first)
    own = next((it for it in OWN_FAULTS if it == first.cause), None)
    refusals = first.attempts if own else 0
    return Partition(
        key=first.key,
        stage=PartitionStage.PAUSED,
        head=Head(
            lookup_first=again,
            by_itself=own,
            own_refusals=refusals,
            unstored=own is Cause.UNSTORED,
        ),
        held_since=first.held_since,
        marked=first.held_since is not None,
        tried_since=first.tried_since,
    )


def _appended(work: Work, partition: Partition, found: tuple[Pending, ...]) -> Partition:
    work.count += len(found)
    loaded = found[-1].id if found else partition.loaded
    return replace(partition, waiting=(*partition.waiting, *found), loaded=loaded)


def _popped(work: Work, partition: Partition) -> Partition:
    _forget(work, partition.first)
    return replace(partition, waiting=partition.waiting[1:], head=Head())


def _forget(work: Work, item: Pending) -> None:
    work.count -= 1
    if work.announced.get(item.session_id) == item.id:
        announce(work, item.session_id, None)


def announce(work: Work, session: str, number: int | None) -> None:
    """``number``: of the ``session_ready`` that is to come; None: none is, its messages may go."""
    if number is not None:
        work.announced[session] = number
    elif session in work.announced:
        work.announced.pop(session)
        work.release(session)


def expect(work: Work, session: str, *, comes: bool) -> None:
    """A ``session_ready`` of this session will be admitted, or will not."""
    if comes:
        announce(work, session, EXPECTED)
    elif work.announced.get(session) == EXPECTED:
        announce(work, session, None)


def expect_none(work: Work) -> None:
    """No ``session_ready`` will be admitted, of any session."""
    for session in [it for it, number in work.announced.items() if number == EXPECTED]:
        announce(work, session, None)


def _record_announcement(work: Work, item: Pending) -> None:
    """The newest event of a session counts: the database has left out those before it."""
    if item.event == READY:
        announce(work, item.session_id, item.id)
    elif item.event in SESSION_EVENTS:
        announce(work, item.session_id, None)


def _leave_out_outdated(work: Work, partition: Partition) -> Partition:
    kept: list[Pending] = []
    outdated: list[Pending] = []
    for place, item in enumerate(partition.waiting):
        stays = (place == 0 and partition.busy) or item.event not in SESSION_EVENTS
        (kept if stays else outdated).append(item)
    for item in outdated:
        work.count -= 1
        work.do(left_out(item))
    after = work.put(replace(partition, waiting=tuple(kept)))
    if kept and kept[0] is not partition.first:
        work.resume(work.put(replace(after, head=Head())))
    return work.partitions[partition.key]
