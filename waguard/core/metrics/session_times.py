"""What two states of a session, one after the other, add to the metrics. Pure. Times are monotonic seconds."""

from collections.abc import Iterator
from typing import NamedTuple

from msgspec import Struct

from waguard.core.blame import Blame
from waguard.core.link import Link
from waguard.core.metrics.families import DETECT, HEAL, PAGE_LOADS, RESTARTS, SLOT_WAIT, Metric
from waguard.core.replace import replace
from waguard.core.session.state import Intent, SessionState, Slot, Stage
from waguard.core.session.views import conditions


class Addition(NamedTuple):
    """What ``Tally.add`` is called with."""

    metric: Metric
    value: float
    label: tuple[str, ...] = ()


class Change(NamedTuple):
    """Two states of a session, and when it got the second one."""

    before: SessionState
    after: SessionState
    at: float


class Begun(Struct, frozen=True, kw_only=True):
    """What has begun in a session, and has not ended."""

    slot_requested: float | None = None
    unhealthy: float | None = None
    blame: Blame = Blame.SESSION
    """Whose fault it is that the session is unhealthy."""


def compare(begun: Begun, change: Change) -> tuple[Begun, list[Addition]]:
    """What goes on in the session afterwards, and what to add."""
    before, after, now = change
    found: list[Addition] = [*_counted(before, after)]
    if before.slot is not after.slot:
        if after.slot is Slot.HELD:
            asked = begun.slot_requested
            found.append(Addition(SLOT_WAIT, 0.0 if asked is None else now - asked))
        requested = now if after.slot is Slot.REQUESTED else None
        begun = replace(begun, slot_requested=requested)
    if after.left or after.intent is Intent.DOWN:
        return replace(begun, unhealthy=None), found
    if _is_healthy(before) and not _is_healthy(after):
        begun = replace(begun, unhealthy=now, blame=_blame(after))
        found.append(Addition(DETECT, now - _last_sign(before), (begun.blame,)))
    elif begun.unhealthy is not None and _is_healthy(after):
        found.append(Addition(HEAL, now - begun.unhealthy, (begun.blame,)))
        begun = replace(begun, unhealthy=None)
    elif after.failure and after.failure is not before.failure:
        begun = replace(begun, blame=after.failure.blame)  # it explains more than the first sign
    return begun, found


def _counted(before: SessionState, after: SessionState) -> Iterator[Addition]:
    if (count := after.restarts - before.restarts) > 0:
        blame = after.failure.blame if after.failure else Blame.SESSION
        yield Addition(RESTARTS, count, (blame,))
    worker = after.worker
    if worker is None or worker is before.worker:
        return
    was = before.worker if before.worker and before.worker.number == worker.number else None
    known = was.loads if was else -1
    # the first report of a worker that is adopted has the loads that an earlier daemon counted
    if worker.loads > max(known, 0) and not (known < 0 and worker.adopted):
        yield Addition(PAGE_LOADS, worker.loads - max(known, 0))


def _is_healthy(state: SessionState) -> bool:
    worker = state.worker
    ready = worker is not None and worker.stage is Stage.READY and worker.link is Link.CONNECTED
    return worker is not None and ready and worker.unresponsive is None


def _last_sign(state: SessionState) -> float:
    worker = state.worker
    return min(worker.heard_at, worker.page_at) if worker else 0.0


def _blame(state: SessionState) -> Blame:
    return next((it.blame for it in conditions(state)), Blame.SESSION)
