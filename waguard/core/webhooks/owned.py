"""Sessions of a cluster that come to a delivery queue and leave it. Pure.

Theory of operation: a queue reads what has come since, by id. That misses nothing of a session as long as one host writes
its webhooks. So a session that comes is read by itself, from its first webhook on; what the common reading meets of it
meanwhile is left out, and read after it. Until all is read nothing of it begins: a ``session_ready`` may be among it. As
after a start, what was in flight at the owner before may be delivered: it is looked up first where that can be, and else
delivered once more, under the same event id.
"""

from collections.abc import Collection

from waguard.core.replace import replace
from waguard.core.webhooks import queue_memory as contents
from waguard.core.webhooks.facts import LoadSession, SessionLoaded
from waguard.core.webhooks.partition import PartitionStage
from waguard.core.webhooks.pending import Pending
from waguard.core.webhooks.persistent_map import PersistentMap
from waguard.core.webhooks.state import EXPECTED, Owned, Reading
from waguard.core.webhooks.work import Work


def all_here(sessions: Collection[str]) -> PersistentMap[str, Owned]:
    """These are this host's when a queue begins: it reads all of it."""
    builder = PersistentMap[str, Owned]().builder()
    for session in sessions:
        builder[session] = Owned.HERE
    return builder.finish()


def acquired(work: Work, session: str) -> None:
    """Read what is pending of it; nothing, where that is done or under way."""
    if work.owned is None or work.owned.get(session) in {Owned.READING, Owned.BEHIND, Owned.HERE}:
        return
    lost(work, session)
    _load(work, session, 0)


def loaded(work: Work, fact: SessionLoaded) -> None:
    """Go on reading, or begin."""
    session, stage = fact.session, work.owned.get(fact.session) if work.owned is not None else None
    if work.owned is None or stage not in {Owned.READING, Owned.BEHIND}:
        return
    for item in fact.found:
        contents.admit(work, item)
    work.read_to[session] = read_to = fact.found[-1].id if fact.found else fact.after
    if stage is Owned.BEHIND or not fact.whole:
        _load(work, session, read_to)
        return
    work.owned[session] = Owned.HERE
    for partition in [it for it in work.partitions.values() if it.key[0] == session]:
        if partition.stage is PartitionStage.PAUSED and partition.due is None:
            work.resume(partition)


def takes(work: Work, item: Pending) -> bool:
    """Whether a webhook that the common reading met is taken into memory now. That reading may have begun before the
    session's own, which has delivered some of it since."""
    if work.owned is None:
        return True
    stage = work.owned.get(item.session_id)
    if stage is Owned.READING:
        work.owned[item.session_id] = Owned.BEHIND
    return stage is Owned.HERE and item.id > work.read_to.get(item.session_id, 0)


def leaving(work: Work, session: str) -> None:
    """Begin nothing of it any more."""
    if work.owned is not None and session in work.owned:
        work.owned[session] = Owned.LEAVING


def lost(work: Work, session: str) -> None:
    """Forget it."""
    if work.owned is None:
        return
    for partition in [it for it in work.partitions.values() if it.key[0] == session]:
        work.lose(partition)
    work.owned.pop(session)
    for some in (work.announced, work.handled, work.following, work.read_to):
        some.pop(session)
    if not work.owned:  # the database may have been put back to an older state, with lower ids, and the leases with it
        work.reading = replace(work.reading, tail=0)


def read_again(work: Work) -> None:
    """Forget all that was read, and read what there is; a ``session_ready`` that is not in the database yet still comes."""
    for partition in list(work.partitions.values()):
        work.lose(partition)
    for session in [it for it, number in work.announced.items() if number != EXPECTED]:
        work.announced.pop(session)
    for some in (work.handled, work.following, work.read_to):
        for session in list(some):
            some.pop(session)
    work.reading = Reading(more=True)
    if work.owned is not None:
        for session, stage in list(work.owned.items()):
            if stage in {Owned.READING, Owned.BEHIND}:
                work.owned[session] = Owned.HERE  # that reading is of all


def _load(work: Work, session: str, after: int) -> None:
    assert work.owned is not None  # noqa: S101 - asked before
    work.owned[session] = Owned.READING
    work.do(LoadSession(session=session, after=after, limit=work.window.read))
