"""Wrong decisions, each planted into the core: a simulation that does not find them proves nothing."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple
from unittest.mock import patch

from tests.simulation import host, workers, world
from waguard.core import installation, page_care
from waguard.core.blame import Blame, Failure
from waguard.core.fleet import acks as fleet_acks
from waguard.core.fleet import breaker, fleet, network, slots
from waguard.core.fleet.state import FleetState, Post, Report
from waguard.core.host.admission import Reading
from waguard.core.installation import Found, Identity, Known, Marker, Unknown
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.page_care import Step
from waguard.core.replace import replace
from waguard.core.row_status import DerivedStatus, ParkCause, Reason, Status
from waguard.core.session import (
    after_failure,
    care,
    deadlines,
    session,
    show,
    takeover,
    views,
    worker,
)
from waguard.core.session.facts import Moment, Reported
from waguard.core.session.out import Out
from waguard.core.session.state import Replacement, SessionState, Stage, Worker

Plant = Callable[[], contextlib.AbstractContextManager[object]]


class Planted(NamedTuple):
    """``sessions``: the size of the fleet that it shows in; ``dense``: only where beats are facts."""

    plant: Plant
    sessions: int
    finds: str
    """Words of what is found."""
    dense: bool = False
    kinds: tuple[str, ...] = ()
    """The faults that it takes, where they seldom meet."""
    seed: int = 1
    """The first that is tried."""


def _blamed(reason: str) -> contextlib.AbstractContextManager[object]:
    """Whatever ends with ``reason`` is the session's."""
    right = worker.on_end

    def on_end(
        state: SessionState, it: Worker, failure: Failure, now: Moment, out: Out
    ) -> SessionState:
        if failure.reason == reason:
            failure = replace(failure, blame=Blame.SESSION)
        return right(state, it, failure, now, out)

    return patch.object(worker, "on_end", on_end)


@contextlib.contextmanager
def _final() -> Iterator[None]:
    """A spent budget parks for good."""

    def give_up(
        state: SessionState, why: str, failure: Failure, now: Moment, out: Out
    ) -> SessionState:
        return worker.park(state, ParkCause.RESTART_BUDGET, f"{why}: {failure}", now, out)

    with patch.object(after_failure, "_give_up", give_up):
        yield


@contextlib.contextmanager
def a_linking_is_cut_short() -> Iterator[None]:
    """The page is loaded again although somebody has the request for the passkey."""
    right = deadlines._of_link

    def of_link(state: SessionState, it: Worker) -> list[tuple[float, deadlines.Due]]:
        linking, found = it.passkey, right(state, it)
        if linking and state.care.passkey_reloaded != linking.until:
            found.append((it.passkey_ends - 500.0, deadlines.Due.PASSKEY_OVER))
        return found

    with patch.object(deadlines, "_of_link", of_link):
        yield


@contextlib.contextmanager
def adoption_is_reported_as_an_outage() -> Iterator[None]:
    """From "its worker is starting" follows "disconnected"."""
    right = views.derive_status

    def derive_status(state: SessionState) -> DerivedStatus:
        if state.worker and state.worker.stage is Stage.ADOPTING:
            return DerivedStatus(Status.DISCONNECTED, Reason.ERROR, "the worker is starting")
        return right(state)

    with patch.object(show, "derive_status", derive_status):
        yield


@contextlib.contextmanager
def _blind() -> Iterator[None]:
    """The host is not read before a start."""
    right = host.read_host

    def read_host(active: object) -> object:
        return replace(right(active), left=Reading())  # type: ignore[arg-type]

    with patch.object(world, "read_host", read_host):
        yield


@contextlib.contextmanager
def the_exit_code_decides() -> Iterator[None]:
    """What the host lacks counts against each session's budget, and a spent budget is final."""
    with (
        _blind(),
        _final(),
        patch.object(workers, "host_failure", lambda _: None),
    ):
        yield


@contextlib.contextmanager
def a_missing_executable_parks() -> Iterator[None]:
    """It counts against each session's budget, and a spent budget is final."""
    with _blind(), _final(), _blamed("browser_unusable"):
        yield


@contextlib.contextmanager
def a_missing_folder_parks() -> Iterator[None]:
    """Its profile is "missing"."""
    right = worker.on_end

    def on_end(
        state: SessionState, it: Worker, failure: Failure, now: Moment, out: Out
    ) -> SessionState:
        if failure.reason == "sessions_folder_missing":
            state = worker.park(state, ParkCause.PROFILE_MISSING, "profile missing", now, out)
        return right(state, it, failure, now, out)

    with _blind(), patch.object(worker, "on_end", on_end):
        yield


@contextlib.contextmanager
def http_500_spends_the_budget() -> Iterator[None]:
    """A page that WhatsApp does not serve is "not ready"."""
    right = worker.on_report

    def on_report(
        state: SessionState, it: Worker, said: Reported, now: Moment, out: Out
    ) -> SessionState:
        if not said.refused or it.stage is Stage.ENDING:
            return right(state, it, said, now, out)
        failure = Failure(Blame.SESSION, "page_not_ready", worker.NOT_READY, said.details or "")
        return worker.end(state, it, failure, now, out)

    with patch.object(worker, "on_report", on_report):
        yield


@contextlib.contextmanager
def the_canary_never_rotates() -> Iterator[None]:
    """One that is unhealthy for a reason of its own keeps all others down."""
    right = breaker.tried

    def tried(policy: object, before: breaker.Breaker, *args: object, **given: object) -> object:
        if before.opening is None:
            return before
        forgetful = breaker.Breaker(before.failures, replace(before.opening, tried=()))
        after = right(policy, forgetful, *args, **given)  # type: ignore[arg-type]
        return before if after is forgetful else after

    with patch.object(breaker, "tried", tried):
        yield


def _no_deadline_for(link: Link) -> Plant:
    @contextlib.contextmanager
    def planted() -> Iterator[None]:
        right = deadlines._stuck_at

        def stuck_at(state: SessionState, it: Worker) -> float | None:
            return None if it.link is link else right(state, it)

        with patch.object(deadlines, "_stuck_at", stuck_at):
            yield

    planted.__name__ = f"{link}_for_ever"
    return planted


@contextlib.contextmanager
def two_late_ones_block_each_other() -> Iterator[None]:
    """Two without acks and nobody else who sends: it must be WhatsApp's."""
    right = fleet_acks.replace_for_acks

    def replace_for_acks(state: FleetState, now: Moment, post: Post, report: Report) -> FleetState:
        late = [seen for seen in state.acks.values() if seen.late]
        well = [seen for seen in state.acks.values() if not seen.late and seen.acked_at]
        if len(late) > 1 and not well:
            return state
        return right(state, now, post, report)

    with patch.object(fleet, "replace_for_acks", replace_for_acks):
        yield


@contextlib.contextmanager
def a_spent_budget_is_final() -> Iterator[None]:
    """It waits for a person."""
    with _final():
        yield


@contextlib.contextmanager
def one_phone_hides_an_outage() -> Iterator[None]:
    """Only where all lost WhatsApp at once it is the network."""

    def at_once(offline: list[float]) -> int:
        return len(offline) if max(offline) - min(offline) <= network.AT_ONCE else 0

    with patch.object(network, "_most_at_once", at_once):
        yield


@contextlib.contextmanager
def takeovers_are_unbounded() -> Iterator[None]:
    """Two clients take it from each other forever."""

    def answer(takeovers: tuple[float, ...], *, now: float) -> takeover.Answer:
        if takeovers and now - takeovers[-1] < takeover.RETRY:
            return takeover.Answer.WAIT
        return takeover.Answer.TAKE_OVER

    with patch.object(takeover, "answer", answer):
        yield


@contextlib.contextmanager
def a_standstill_counts_as_unresponsive() -> Iterator[None]:
    """The daemon heard nobody because it stood still itself."""

    def forgive(state: SessionState, seconds: float, now: float) -> SessionState:
        return state

    with patch.object(session, "forgive", forgive):
        yield


@contextlib.contextmanager
def all_are_replaced_at_once() -> Iterator[None]:
    """On an upgrade, without a slot for the next one."""

    def replace_worker(
        state: SessionState, it: Worker, planned: Replacement, now: Moment, out: Out
    ) -> SessionState:
        return worker.recycle(state, it, planned.why or "", now, out)

    with patch.object(session, "_replace_worker", replace_worker):
        yield


@contextlib.contextmanager
def planned_ends_are_counted() -> Iterator[None]:
    """Each replacement spends the budget."""
    right = worker.on_end

    def on_end(
        state: SessionState, it: Worker, failure: Failure, now: Moment, out: Out
    ) -> SessionState:
        blamed = replace(failure, blame=Blame.SESSION)
        return right(replace(state, failure=blamed), replace(it, planned=False), blamed, now, out)

    with patch.object(worker, "on_end", on_end):
        yield


@contextlib.contextmanager
def a_stuck_page_is_replaced_at_once() -> Iterator[None]:
    """It is not reloaded first."""
    right = page_care.on_stuck

    def on_stuck(tried: Sequence[Step]) -> Step:
        step = right(tried)
        return Step.REPLACE if step is Step.RELOAD else step

    with patch.object(care, "on_stuck", on_stuck):
        yield


@contextlib.contextmanager
def the_row_keeps_its_word_after_an_exit() -> Iterator[None]:
    """As it does while the worker is being adopted."""
    right = views.derive_status

    def derive_status(state: SessionState) -> DerivedStatus:
        if views.lifecycle(state) in {State.BACKOFF, State.STARTING}:
            return state.status
        return right(state)

    with patch.object(show, "derive_status", derive_status):
        yield


@contextlib.contextmanager
def all_parked_are_tried_at_once() -> Iterator[None]:
    """Those that spent their restarts."""
    with patch.object(slots, "_slow_waits", lambda fleet: {}):
        yield


@contextlib.contextmanager
def an_empty_database_is_a_fact() -> Iterator[None]:
    """Whatever answers is ours."""

    def identify(
        _: Marker | None, found: Found, *, workers: int, accepted: Unknown | None = None
    ) -> Identity:
        del workers, accepted
        return Known(found.installation or "")

    with patch.object(installation, "identify", identify):
        yield


@contextlib.contextmanager
def living_workers_contradict_nothing() -> Iterator[None]:
    """Where nobody has a marker, any database is."""
    right = installation.identify

    def identify(
        folder: Marker | None, found: Found, *, workers: int, accepted: Unknown | None = None
    ) -> Identity:
        del workers
        return right(folder, found, workers=0, accepted=accepted)

    with patch.object(installation, "identify", identify):
        yield


PLANTED: Final = (
    Planted(adoption_is_reported_as_an_outage, 2, "adopted as it was"),
    Planted(a_missing_executable_parks, 3, "not tried again", kinds=("executable", "kill_worker")),
    Planted(the_exit_code_decides, 3, "not tried again", kinds=("read_only", "kill_worker")),
    Planted(a_missing_folder_parks, 3, "parked", seed=2),
    Planted(http_500_spends_the_budget, 2, ""),
    Planted(
        the_canary_never_rotates,
        5,
        "not healthy",
        kinds=("fleet_crash", "crash_loop", "never_ready"),
        seed=4,
    ),
    Planted(_no_deadline_for(Link.OFFLINE), 2, "not healthy"),
    Planted(_no_deadline_for(Link.SYNCING), 2, "not healthy"),
    Planted(_no_deadline_for(Link.PAIRING), 2, "not healthy", seed=4),
    Planted(two_late_ones_block_each_other, 2, "not healthy", kinds=("no_acks",), seed=4),
    Planted(a_spent_budget_is_final, 2, "is not tried again"),
    Planted(one_phone_hides_an_outage, 6, "lost the network at once", seed=3),
    Planted(takeovers_are_unbounded, 2, "taken over", seed=3),
    Planted(a_standstill_counts_as_unresponsive, 2, "healthy worker is ended", dense=True, seed=2),
    Planted(all_are_replaced_at_once, 6, "before the next one has a start slot"),
    Planted(planned_ends_are_counted, 2, "a planned end"),
    Planted(a_stuck_page_is_replaced_at_once, 2, "not reloaded"),
    Planted(the_row_keeps_its_word_after_an_exit, 2, "the row says connected"),
    Planted(
        an_empty_database_is_a_fact,
        2,
        "an empty database is believed",
        kinds=("database_emptied", "daemon"),
        seed=2,
    ),
    Planted(
        living_workers_contradict_nothing,
        2,
        "an empty database is believed",
        kinds=("volume_away", "daemon"),
        seed=2,
    ),
    Planted(a_linking_is_cut_short, 2, "while its passkey is", kinds=("passkey",)),
    Planted(all_parked_are_tried_at_once, 6, "are tried at once", kinds=("crash_loop",)),
)
