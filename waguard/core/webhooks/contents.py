"""What of a delivery queue is in memory: read from the database, left out, given up, done with. Pure."""

from collections.abc import Iterable

from waguard.core.replace import replace
from waguard.core.webhooks import delivery
from waguard.core.webhooks.delivery import HELD, READY, SESSION_EVENTS, Cause
from waguard.core.webhooks.draft import Draft, left_out, replace_pending
from waguard.core.webhooks.facts import SaveLater
from waguard.core.webhooks.partition import Partition, Stage, is_looked_up
from waguard.core.webhooks.pending import DeliveryResult, Key, Pending
from waguard.core.webhooks.state import EXPECTED
from waguard.core.webhooks.verdict import Head


def admit(draft: Draft, item: Pending) -> None:
    """Add what the database has; a partition that has something to begin with now goes on."""
    _record_announcement(draft, item)
    partition = draft.partitions.get(item.key)
    if partition and item.id <= partition.loaded:
        return  # it was read with its partition
    if partition is None:
        partition = _known(draft, item)
    elif item.event in SESSION_EVENTS:
        partition = _leave_out_outdated(draft, partition)
    is_first = not partition.waiting and not partition.busy
    has_room = len(partition.waiting) < draft.window.partition and draft.count < draft.window.memory
    if not partition.more and (is_first or (has_room and partition.held_since is None)):
        partition = _appended(draft, partition, (item,))
    partition = draft.put(replace(partition, newest=max(partition.newest, item.id)))
    if is_first:
        go_on(draft, partition)


def fill(draft: Draft, partition: Partition, found: Iterable[Pending], loaded: int) -> None:
    """Add what was read for a partition; all up to the id ``loaded`` is known."""
    partition = _appended(draft, partition, found)
    partition = draft.put(replace(partition, loaded=max(partition.loaded, loaded)))
    go_on(draft, partition)


def done(draft: Draft, partition: Partition) -> None:
    """Its first is done with: it goes on with the next one."""
    go_on(draft, _popped(draft, partition))


def go_on(draft: Draft, partition: Partition) -> None:
    """With its next one, after what has expired."""
    while (limit := partition.expire_before) is not None and partition.waiting:
        if partition.first.created_at > limit:
            break
        first = partition.first
        why = delivery.given_up(draft.policy, first.attempts, "see the ones before")
        expired = DeliveryResult(
            id=first.id, attempts=first.attempts, error=why, cause=Cause.EXPIRED
        )
        draft.do(SaveLater(result=expired))
        partition = _popped(draft, partition)
    if partition.waiting and not partition.requeued:
        draft.resume(partition)
    else:
        draft.read_on(partition)


def drop(draft: Draft, partition: Partition, before: float) -> None:
    """Forget its received messages that were queued before then (unix time). One that is in flight stays."""
    kept = tuple(
        item
        for place, item in enumerate(partition.waiting)
        if item.event != HELD or item.created_at >= before or (partition.busy and place == 0)
    )
    draft.count -= len(partition.waiting) - len(kept)
    same_first = kept[:1] == partition.waiting[:1]
    after = draft.put(replace(partition, waiting=kept))
    if not same_first:
        go_on(draft, draft.put(replace(after, head=Head(), held_since=None, marked=False)))


def requeue(draft: Draft, key: Key, newest: int) -> None:
    """Read it from its beginning: what was dead is before what waits."""
    partition = draft.partitions.get(key) or Partition(key=key, stage=Stage.PAUSED)
    partition = replace(partition, requeued=True, newest=max(partition.newest, newest))
    if partition.busy:
        draft.put(partition)
    else:
        draft.read_on(replace(partition, head=Head(), held_since=None, marked=False))


def expire_older(draft: Draft, limit: float) -> None:
    """What is tried since then (unix time) or longer is given up without one more try."""
    for partition in list(draft.partitions.values()):
        since = partition.tried_since
        if not partition.busy and partition.held_since is None and since and since <= limit:
            go_on(draft, draft.put(replace(partition, expire_before=limit)))


def _known(draft: Draft, first: Pending) -> Partition:
    # an earlier daemon may have ended between the delivery and its commit: of each partition one
    again = not draft.reading.once and is_looked_up(first)
    return Partition(
        key=first.key,
        stage=Stage.PAUSED,
        head=Head(look_first=again),
        held_since=first.held_since,
        marked=first.held_since is not None,
        tried_since=first.tried_since,
    )


def _appended(draft: Draft, partition: Partition, found: Iterable[Pending]) -> Partition:
    items = []
    for item in found:
        full = draft.count >= draft.window.memory  # then it is read when its turn comes
        items.append(replace_pending(item, body=None) if full else item)
        draft.count += 1
    loaded = items[-1].id if items else partition.loaded
    return replace(partition, waiting=(*partition.waiting, *items), loaded=loaded)


def _popped(draft: Draft, partition: Partition) -> Partition:
    first, *rest = partition.waiting
    after = draft.put(replace(partition, waiting=tuple(rest), head=Head()))
    _forget(draft, first)
    return after


def _forget(draft: Draft, item: Pending) -> None:
    draft.count -= 1
    if draft.announced.get(item.session_id) == item.id:
        announce(draft, item.session_id, None)


def announce(draft: Draft, session: str, number: int | None) -> None:
    """``number``: of the ``session_ready`` that is to come; None: none is, its messages may go."""
    if number is not None:
        draft.announced[session] = number
    elif session in draft.announced:
        del draft.announced[session]
        draft.release(session)


def expect(draft: Draft, session: str, *, comes: bool) -> None:
    """A ``session_ready`` of this session will be admitted, or will not."""
    if comes:
        announce(draft, session, EXPECTED)
    elif draft.announced.get(session) == EXPECTED:
        announce(draft, session, None)


def _record_announcement(draft: Draft, item: Pending) -> None:
    """The newest event of a session counts: the database has left out those before it."""
    if item.event == READY:
        announce(draft, item.session_id, item.id)
    elif item.event in SESSION_EVENTS:
        announce(draft, item.session_id, None)


def _leave_out_outdated(draft: Draft, partition: Partition) -> Partition:
    kept: list[Pending] = []
    outdated: list[Pending] = []
    for place, item in enumerate(partition.waiting):
        stays = (place == 0 and partition.busy) or item.event not in SESSION_EVENTS
        (kept if stays else outdated).append(item)
    for item in outdated:
        draft.count -= 1
        draft.do(left_out(item))
    after = draft.put(replace(partition, waiting=tuple(kept)))
    if kept and kept[0] is not partition.first:
        draft.resume(draft.put(replace(after, head=Head())))
    return draft.partitions[partition.key]
