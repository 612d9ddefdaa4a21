"""Who may take the lease, who waits, who gives up, who has lost it."""

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core import lease as core
from waguard.core.lease import (
    Decision,
    Held,
    Holder,
    Lease,
    Take,
    Terms,
    Wait,
    Watch,
    held_elsewhere,
    held_elsewhere_words,
    held_words,
    is_lost,
    is_short,
    left_behind_words,
    lent_until,
    lost_words,
    next_epoch,
    of_cluster,
    terms,
    waiting_words,
)
from waguard.core.replace import replace

T = 1_732_233_600.0
TERMS = Terms(lasts=75.0, renewed_every=5.0)
ME = Holder(machine="m1", runtime="/run/waguard", host="alpha", pid=7, instance="i7")
OTHER = Holder(machine="m2", runtime="/run/waguard", host="beta", pid=8, instance="i8")


def lease(holder: Holder = OTHER, **changes: Any) -> Lease:
    found = Lease(
        epoch=4,
        holder=holder,
        terms=TERMS,
        taken_at=T - 100,
        renewed_at=T,
        released=False,
        now=T + 1,
    )
    return replace(found, **changes)


BOOTED: Final = T - 5_000.0
"""The zero of the waiting daemon's own clock, which goes as the database's does."""


def claim(
    mine: Holder,
    found: Lease | None,
    watch: Watch | None,
    *,
    ahead: float = 0.0,
    here: Holder | None = None,
) -> Decision:
    """``ahead``: s that the database's clock has been put ahead so far."""
    clock = found.now - ahead - BOOTED if found else 0.0
    return core.claim(mine, found, watch, clock, here=here)


def first_reading(found: Lease) -> Watch:
    decision = claim(ME, found, None)
    assert isinstance(decision, Wait)
    return decision.watch


def test_a_lease_that_nobody_had_or_that_was_released_is_free() -> None:
    assert claim(ME, None, None) == Take()
    assert claim(ME, lease(released=True), None) == Take()


def test_the_same_place_takes_over_at_once_however_fresh_it_is() -> None:
    before = replace(ME, pid=6, instance="i6", host="renamed")
    assert claim(ME, lease(before), None) == Take()


@pytest.mark.parametrize(
    "other", [replace(ME, runtime="/run/b"), replace(ME, machine="m3")], ids=["folder", "machine"]
)
def test_another_place_waits(other: Holder) -> None:
    decision = claim(ME, lease(other), None)
    assert decision == Wait(Watch(4, T, T + 1, 5_001.0), 74.0)


def test_who_waits_takes_it_when_it_has_expired() -> None:
    watch = first_reading(lease())
    assert isinstance(claim(ME, lease(now=T + 74.9), watch), Wait)
    assert claim(ME, lease(now=T + 75), watch) == Take()


def test_who_waits_gives_up_as_soon_as_it_is_renewed() -> None:
    watch = first_reading(lease())
    assert isinstance(claim(ME, lease(renewed_at=T + 5, now=T + 6), watch), Held)
    # also after its end: the holder's database was away, and it goes on
    assert isinstance(claim(ME, lease(renewed_at=T + 90, now=T + 91), watch), Held)


def test_who_waits_gives_up_when_a_third_one_was_quicker() -> None:
    third = replace(OTHER, machine="m4")
    watch = first_reading(lease())
    assert isinstance(claim(ME, lease(third, epoch=5, renewed_at=T + 80, now=T + 81), watch), Held)


def test_who_waits_takes_it_as_soon_as_it_is_released() -> None:
    watch = first_reading(lease())
    assert claim(ME, lease(released=True, now=T + 2), watch) == Take()


def test_one_that_expired_long_ago_is_watched_for_two_renewals_first() -> None:
    """After an outage of the database its living holder renews it at once, and must have the time."""
    watch = first_reading(lease(now=T + 500))
    assert claim(ME, lease(now=T + 509), watch) == Wait(watch, 1.0)
    assert claim(ME, lease(now=T + 510), watch) == Take()
    assert isinstance(claim(ME, lease(renewed_at=T + 503, now=T + 504), watch), Held)


def test_after_an_outage_of_the_database_it_is_watched_again() -> None:
    assert isinstance(claim(ME, lease(now=T + 500), None), Wait)


def test_a_step_of_the_databases_clock_prolongs_nothing() -> None:
    ahead = lease(renewed_at=T + 3_600)  # renewed before the clock was put back an hour
    watch = first_reading(ahead)
    assert claim(ME, replace(ahead, now=T + 76), watch) == Take()
    # put back while somebody waits
    watch = first_reading(lease())
    back = lease(now=T - 3_600)
    decision = claim(ME, back, watch)
    assert decision == Wait(Watch(4, T, T - 3_600, 1_400.0), 75.0)
    assert claim(ME, replace(back, now=T - 3_525), decision.watch) == Take()


def test_a_clock_of_the_database_that_is_put_ahead_ends_no_lease_early() -> None:
    """Its holder renewed it seconds ago, and its workers live for all of its time."""
    watch, hour = first_reading(lease()), 3_600.0
    decision = claim(ME, lease(now=T + 3 + hour), watch, ahead=hour)
    assert decision == Wait(watch, 72.0)
    renewed = lease(renewed_at=T + 5 + hour, now=T + 6 + hour)
    assert isinstance(claim(ME, renewed, watch, ahead=hour), Held)
    assert isinstance(claim(ME, lease(now=T + 74.9 + hour), watch, ahead=hour), Wait)
    assert claim(ME, lease(now=T + 75 + hour), watch, ahead=hour) == Take()


@pytest.mark.parametrize("before", [0.0, 3_600.0], ids=["after", "before"])
def test_a_step_of_that_clock_near_the_reading_of_a_renewal_ends_no_lease_early(
    before: float,
) -> None:
    """A standby reads each renewal, and the next reading comes later. ``before``: s of the step that came between the
    renewal and its reading."""
    hour = 3_600.0
    held = claim(
        ME, lease(renewed_at=T + 5, now=T + 6 + before), first_reading(lease()), ahead=before
    )
    assert isinstance(held, Held)
    stepped = lease(renewed_at=T + 5, now=T + 7 + hour)
    decision = claim(ME, stepped, held.watch, ahead=hour)
    assert decision == Wait(held.watch, 74.0)
    assert claim(ME, replace(stepped, now=T + 81 + hour), held.watch, ahead=hour) == Take()


@given(
    now=st.floats(T - 1e6, T + 1e6),
    renewed_at=st.floats(T - 1e6, T + 1e6),
    lasts=st.floats(1, 1e5),
    share=st.floats(0.001, 0.4),
)
def test_nobody_waits_longer_than_a_lease_lasts(
    now: float, renewed_at: float, lasts: float, share: float
) -> None:
    how = Terms(lasts=lasts, renewed_every=lasts * share)
    found = replace(lease(now=now, renewed_at=renewed_at), terms=how)
    decision = claim(ME, found, None)
    assert isinstance(decision, Wait)
    assert how.renewed_every < decision.seconds <= how.lasts + 1e-3
    later = replace(found, now=now + decision.seconds + 1e-3)
    assert claim(ME, later, decision.watch) == Take()


def test_only_a_higher_epoch_is_a_loss() -> None:
    assert is_lost(4, lease(epoch=5))
    assert not is_lost(4, lease(epoch=4))
    assert not is_lost(4, lease(epoch=3))  # a copy of the database from before
    assert not is_lost(4, None)


def test_a_lease_outlasts_the_workers_of_its_holder() -> None:
    assert terms(orphan_grace=60.0, margin=15.0) == Terms(lasts=75.0, renewed_every=5.0)


def test_the_holder_is_named_with_what_to_do() -> None:
    named = "the waguard on beta in /run/waguard (pid 8) since 2024-11-21T23:58:20Z"
    assert named in waiting_words(lease(), 12.4)
    assert "12 s" in waiting_words(lease(), 12.4)
    message, remedy = held_words(lease())
    assert named in message
    assert "another database" in remedy
    message, remedy = lost_words(ME, lease(epoch=5))
    assert named in message
    assert "machine-id" not in message + remedy


def test_a_clone_is_recognised() -> None:
    message, remedy = lost_words(ME, lease(replace(ME, pid=9, instance="i9")))
    assert "same machine-id" in message
    assert "systemd-machine-id-setup" in remedy


def test_workers_end_before_anybody_else_may_take_the_lease() -> None:
    until = lent_until(T, TERMS)
    found = lease(ME, renewed_at=T, now=until)
    watch = Watch(found.epoch, found.renewed_at, T, T - BOOTED)
    decision = claim(OTHER, found, watch)
    assert isinstance(decision, Wait)
    assert decision.seconds == 5.0
    assert until == T + 70.0


def test_none_starts_on_what_is_left_of_a_lease() -> None:
    until = lent_until(T, TERMS)
    assert not is_short(until, T, T + 5.0)
    assert is_short(until, T, T + 36.0)
    assert is_short(until, T, until + 1.0)


def test_a_standby_says_for_whom_it_waits_and_when_that_was_renewed() -> None:
    waits = "standby: waiting for the lease of beta"
    away = f"{waits}; the database does not answer, so nobody takes over"
    cases: list[tuple[Lease, float, bool, float | None, str]] = [
        (lease(), 0.0, True, 1.0, waits),
        (lease(), 4.0, True, 5.0, waits),
        (lease(), 400.0, False, None, away),
        (lease(now=T - 9), 0.5, True, 0.5, waits),  # the database's clock was put back
    ]
    for found, read_ago, answers, renewed_ago, words in cases:
        it = held_elsewhere(found, read_ago=read_ago, answers=answers)
        assert (it.holder, it.since, it.renewed_ago) == (OTHER, T - 100, renewed_ago)
        assert held_elsewhere_words(it) == words


# ---- a cluster ----

HOSTS = of_cluster("c1")


def test_a_host_joins_what_another_host_of_its_cluster_holds_however_fresh_it_is() -> None:
    assert claim(of_cluster("c1"), lease(HOSTS), None) == Take()
    assert isinstance(claim(of_cluster("c2"), lease(HOSTS), None), Wait)
    assert isinstance(claim(HOSTS, lease(), None), Wait)
    assert isinstance(claim(ME, lease(HOSTS), None), Wait)


def test_a_daemon_that_is_a_host_of_a_cluster_from_now_on_follows_itself_at_once() -> None:
    before = lease(replace(ME, pid=6, instance="i6"))
    assert claim(HOSTS, before, None, here=ME) == Take()
    assert isinstance(claim(HOSTS, lease(), None, here=ME), Wait)


def test_only_what_the_cluster_holds_keeps_its_epoch() -> None:
    assert next_epoch(HOSTS, lease(HOSTS), 0) == 4
    assert next_epoch(HOSTS, lease(HOSTS), 6) == 6  # a copy of the database from before
    assert next_epoch(HOSTS, lease(HOSTS, released=True), 0) == 5
    assert next_epoch(HOSTS, lease(), 0) == 5
    assert next_epoch(HOSTS, None, 0) == 1
    assert next_epoch(ME, lease(ME), 0) == 5
    assert next_epoch(ME, lease(HOSTS), 0) == 5


def test_a_cluster_is_named_as_one() -> None:
    message, _ = held_words(lease(HOSTS))
    assert "the cluster c1 since 2024-11-21T23:58:20Z, which renewed it" in message
    assert "the cluster c1 lost the database's lease" in left_behind_words(lease(HOSTS))
