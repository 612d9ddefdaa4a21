"""Wrong decisions about leases and owners, each planted into the core or its shell."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple
from unittest.mock import patch

from tests.simulation.cluster.machine import Daemon, Machine
from tests.simulation.cluster.world import World
from waguard.core.cluster import host_lease, owner_state, session_owner
from waguard.core.cluster.host_lease import LeaseState, LeaseTerms, LeaseView
from waguard.core.cluster.lease_facts import LeaseEffect
from waguard.core.cluster.owner_facts import Acquire
from waguard.core.cluster.owner_state import Out, OwnerState
from waguard.core.cluster.records import Found, Owner
from waguard.core.replace import replace
from waguard.core.session.facts import Moment

Plant = Callable[[], contextlib.AbstractContextManager[object]]


def _seen(daemon: Daemon, host: str, answer: Callable[[Found | None], None]) -> None:
    """The lease of ``host`` as the watch last showed it."""
    machine = daemon.machine
    now = Moment(machine.now())
    daemon.world.time.after(
        0.01,
        lambda: daemon.receive(lambda: answer(host_lease.view(daemon.lease, now).peers.get(host))),
    )


@contextlib.contextmanager
def the_watch_decides() -> Iterator[None]:
    """The holder's lease is not read from the engine."""
    with patch.object(World, "read_holder", lambda _, *given: _seen(*given)):
        yield


@contextlib.contextmanager
def a_claim_without_a_declaration() -> Iterator[None]:
    """Who was silent for half a lease is dead."""
    right = host_lease.view

    def view(state: LeaseState, now: Moment) -> LeaseView:
        seen = right(state, now)
        silent = {
            host for host, it in state.peers.items() if now.at - it.since > state.terms.lasts / 2
        }
        peers = {
            host: Found(replace(it.record, alive=False), it.revision) if host in silent else it
            for host, it in seen.peers.items()
        }
        return replace(seen, peers=peers)

    with the_watch_decides(), patch.object(host_lease, "view", view):
        yield


@contextlib.contextmanager
def an_observer_without_a_margin() -> Iterator[None]:
    """It declares others dead before what they run has ended."""
    with patch.object(LeaseTerms, "dead_after", property(lambda it: it.lasts - 2.0)):
        yield


@contextlib.contextmanager
def the_daemon_kills() -> Iterator[None]:
    """Workers have no timer of the kernel's: the daemon ends them at the same time, if it runs."""

    def before_timer(_: World, daemon: Daemon) -> None:
        until = host_lease.lent_until(daemon.lease)
        if until is not None and daemon.machine.now() >= until:
            for session in daemon.mine:
                daemon.machine.workers.pop(session, None)

    with (
        patch.object(World, "kernel_kills", new=False),
        patch.object(World, "before_timer", before_timer),
    ):
        yield


@contextlib.contextmanager
def no_sweep() -> Iterator[None]:
    """What an earlier incarnation runs lives on."""

    def sweep(_: World, machine: Machine) -> None:
        del machine

    with patch.object(World, "sweep", sweep):
        yield


@contextlib.contextmanager
def an_own_name_is_taken_at_once() -> Iterator[None]:
    """A record that lives under this host's name is replaced without a sweep, as if it could only be the own one."""

    def on_foreign(state: LeaseState, found: Found, *_: object) -> LeaseState:
        stage = host_lease.LeaseStage.RENEWING
        return host_lease.at_once(replace(state, stage=stage, revision=found.revision))

    with no_sweep(), patch.object(host_lease, "_on_foreign", on_foreign):
        yield


@contextlib.contextmanager
def a_timer_that_is_late() -> Iterator[None]:
    """Two seconds."""
    with patch.object(LeaseTerms, "lent_for", property(lambda it: 0.95 * it.lasts + 2.0)):
        yield


@contextlib.contextmanager
def counting_from_the_answer() -> Iterator[None]:
    """A lease lasts from when its renewal was answered."""
    right = host_lease._confirm

    def confirm(
        state: LeaseState, number: int, now: float, out: Callable[[LeaseEffect], None]
    ) -> LeaseState:
        if number in state.sent:
            state = replace(state, sent={**state.sent, number: now})
        return right(state, number, now, out)

    with patch.object(host_lease, "_confirm", confirm):
        yield


@contextlib.contextmanager
def an_own_row_is_enough() -> Iterator[None]:
    """A session is acquired without a new epoch, although its release may be on its way."""
    right = session_owner._on_own

    def on_own(state: OwnerState, row: Owner, lease: LeaseView, out: Out) -> OwnerState:
        if state.held_since is not None and row.session not in state.owned and not state.drain:
            out(Acquire(row.session, row.epoch))
            owned = {**state.owned, row.session: row.epoch}
            return replace(state, owned=owned, adopted=state.adopted - {row.session})
        return right(state, row, lease, out)

    with patch.object(session_owner, "_on_own", on_own):
        yield


@contextlib.contextmanager
def an_old_reading_is_believed() -> Iterator[None]:
    """Rows that were read before a release was written."""
    with an_own_row_is_enough(), patch.object(owner_state, "changed", lambda state, _: state):
        yield


class Planted(NamedTuple):
    """``seed``: of the first life that is tried, None: few find it; ``least``: of 300 lives so many must, 0:
    a story in ``tests/core/cluster`` finds it."""

    plant: Plant
    seed: int | None
    least: int


PLANTED: Final = (
    Planted(a_claim_without_a_declaration, 0, 290),
    Planted(an_observer_without_a_margin, 2, 220),
    Planted(the_daemon_kills, 0, 270),
    Planted(an_own_name_is_taken_at_once, 1, 180),
    Planted(the_watch_decides, 0, 180),
    Planted(a_timer_that_is_late, 2, 75),
    Planted(counting_from_the_answer, None, 0),
    Planted(an_own_row_is_enough, None, 1),
    Planted(an_old_reading_is_believed, None, 0),
    Planted(no_sweep, None, 0),
)
