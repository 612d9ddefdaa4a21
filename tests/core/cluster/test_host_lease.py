"""This host's lease: what counts as a renewal, what ends with it, who is declared dead."""

import pytest

from tests.core.cluster.hosts import TERMS, Lease, dead, found
from waguard.core.cluster import host_lease
from waguard.core.cluster.host_lease import LeaseStage, LeaseTerms, LeaseView
from waguard.core.cluster.lease_facts import (
    CloseAll,
    DeclareDead,
    Exit,
    KillAll,
    LeaseEffect,
    Lend,
    NoAnswer,
    OwnRead,
    PeersSeen,
    ReadOwn,
    Refused,
    Renew,
    Renewed,
    Sweep,
    Swept,
    TimerDue,
)
from waguard.core.cluster.records import FORMAT, Found
from waguard.core.replace import replace
from waguard.core.session.facts import Moment


def kinds(effects: list[LeaseEffect]) -> list[type]:
    return [type(it) for it in effects]


def held() -> Lease:
    """A lease of the incarnation ``one``; its renewal number 101 was sent at 0 s."""
    lease = Lease()
    lease.hear(Swept("one"))
    lease.read(None)
    lease.hear(Renewed("one", lease.renewal.number, 7), at=0.1)
    assert lease.is_held
    return lease


# ---- a lease and its times ----


def test_a_new_host_sweeps_and_reads_before_it_writes() -> None:
    lease = Lease()
    assert kinds(lease.effects) == [Sweep]
    assert kinds(lease.hear(Swept("one"))) == [ReadOwn]
    assert lease.read(None) == [Renew("one", 101, 0)]
    assert not lease.is_held
    assert lease.hear(Renewed("one", 101, 7), at=0.5) == [Lend(1_009.5)]
    assert lease.is_held


def test_it_counts_from_the_sending_and_renews_every_two_seconds() -> None:
    lease = held()
    assert lease.hear(TimerDue(), at=1.9) == []
    assert lease.hear(TimerDue(), at=2.0) == [Renew("one", 102, 7)]
    assert lease.hear(Renewed("one", 102, 8), at=3.4) == [Lend(1_011.5)]
    assert host_lease.due_at(lease.state) == 1_004.0


def test_without_a_renewal_all_is_closed_four_seconds_before_the_end() -> None:
    lease = held()
    lease.hear(TimerDue(), at=2.0)
    assert host_lease.due_at(lease.state) == 1_006.0
    lease.hear(NoAnswer(102), at=3.5)
    assert lease.renewal.number == 103
    assert CloseAll() not in lease.hear(NoAnswer(103), at=5.0)
    assert lease.hear(TimerDue(), at=6.0)[0] == CloseAll()
    assert not lease.is_held
    assert CloseAll() not in lease.hear(TimerDue(), at=8.0)


def test_it_is_held_until_then_whether_or_not_the_timer_was_heard() -> None:
    lease = held()
    at = [host_lease.view(lease.state, Moment(1_000.0 + it)).held_since for it in (5.9, 6.0)]
    assert at == [1_000.1, None]


def test_what_ownership_sees_of_the_leases() -> None:
    lease = held()
    b = found("b", "x", 5)
    lease.hear(PeersSeen((found("a", "one", 7), b)), at=0.2)
    assert host_lease.view(lease.state, Moment(lease.now)) == LeaseView(
        host="a", incarnation="one", held_since=1_000.1, newer_format=False, peers={"b": b}
    )


def test_an_answer_after_a_standstill_closes_first_and_holds_it_again() -> None:
    lease = held()
    lease.hear(TimerDue(), at=5.9)
    effects = lease.hear(Renewed("one", 102, 8), at=7.0)
    assert effects == [CloseAll(), Lend(1_015.4)]
    assert host_lease.view(lease.state, Moment(lease.now)).held_since == 1_007.0


def test_an_answer_that_comes_after_its_time_lends_nothing() -> None:
    lease = held()
    lease.hear(TimerDue(), at=2.0)
    effects = lease.hear(Renewed("one", 102, 8), at=20.0)
    assert Lend not in kinds(effects)
    assert not lease.is_held


def test_a_call_without_an_answer_is_repeated_soon() -> None:
    lease = held()
    lease.hear(TimerDue(), at=2.0)
    assert lease.hear(NoAnswer(102), at=2.5) == []
    assert host_lease.due_at(lease.state) == 1_003.0
    assert lease.hear(TimerDue(), at=3.0) == [Renew("one", 103, 7)]


@pytest.mark.parametrize(
    ("lasts", "renewed", "closes", "lent", "dead_after"),
    [(10.0, 2.0, 6.0, 9.5, 11.0), (60.0, 12.0, 47.0, 57.0, 66.0)],
)
def test_the_times_follow_from_how_long_it_lasts(
    lasts: float, renewed: float, closes: float, lent: float, dead_after: float
) -> None:
    terms = LeaseTerms(lasts)
    times = (terms.renewed_every, terms.closes_after, terms.lent_for, terms.dead_after)
    assert times == pytest.approx((renewed, closes, lent, dead_after))
    # the owner's clock may be 7 % slow and the observer's 7 % fast
    assert terms.lent_for / 0.93 <= terms.dead_after / 1.07


def test_nothing_is_written_before_the_record_was_read() -> None:
    lease = Lease()
    lease.hear(Swept("one"))
    lease.hear(NoAnswer(100), at=0.5)
    assert host_lease.due_at(lease.state) == 1_001.0
    assert lease.hear(TimerDue(), at=1.0) == [ReadOwn(101)]


# ---- which answers count ----


def test_an_answer_to_another_incarnation_confirms_nothing() -> None:
    lease = held()
    lease.hear(TimerDue(), at=2.0)
    assert lease.hear(Renewed("zero", 102, 9), at=2.1) == []
    assert lease.hear(Refused("zero", 102), at=2.1) == []
    assert lease.state.call == 102


def test_an_answer_to_an_earlier_call_changes_nothing() -> None:
    lease = held()
    refused(lease)
    before = lease.state
    assert lease.hear(NoAnswer(101), at=2.2) == []
    assert lease.hear(OwnRead(101, None), at=2.2) == []
    assert lease.hear(Refused("one", 101), at=2.2) == []
    assert lease.state == before


def test_a_dead_daemon_s_number_confirms_nothing() -> None:
    """The daemon before has written it; what is counted is what this one has sent."""
    lease = Lease(adopts="one", number=500)
    assert kinds(lease.effects) == [ReadOwn]
    assert lease.read(found("a", "one", 7, number=42), at=0.1) == [Renew("one", 501, 7)]
    assert not lease.is_held
    # a late write of the daemon before
    assert kinds(lease.hear(Refused("one", 501), at=0.2)) == [ReadOwn]
    assert lease.read(found("a", "one", 8, number=43), at=0.3) == [Renew("one", 503, 8)]
    assert not lease.is_held
    assert kinds(lease.hear(Renewed("one", 503, 9), at=0.4)) == [Lend]
    assert lease.is_held


def test_a_late_write_of_one_s_own_counts_from_when_it_was_sent() -> None:
    lease = held()
    lease.hear(TimerDue(), at=2.0)
    lease.hear(NoAnswer(102), at=3.5)
    assert lease.renewal == Renew("one", 103, 7)
    assert kinds(lease.hear(Refused("one", 103), at=3.6)) == [ReadOwn]
    effects = lease.read(found("a", "one", 8, number=102), at=3.7)
    assert effects == [Lend(1_011.5), Renew("one", 105, 8)]


def test_an_old_number_is_not_one_of_another_machine() -> None:
    """What this process sent so long ago that it forgot when."""
    lease = held()
    lease.hear(TimerDue(), at=30.0)
    lease.hear(Refused("one", lease.renewal.number), at=30.1)
    effects = lease.read(found("a", "one", 8, number=101), at=30.2)
    assert kinds(effects) == [Renew]


# ---- a refused renewal ----


def refused(lease: Lease) -> None:
    lease.hear(TimerDue(), at=2.0)
    lease.hear(Refused("one", lease.renewal.number), at=2.1)
    assert lease.reads


def test_who_was_declared_dead_kills_all_and_begins_a_new_incarnation() -> None:
    lease = held()
    refused(lease)
    gone = dead(found("a", "one", 7, number=101))
    assert lease.read(gone, at=2.2) == [KillAll(), Sweep()]
    assert not lease.is_held
    assert lease.hear(TimerDue(), at=5.0) == []
    lease.hear(Swept("two"), at=6.0)
    assert lease.read(gone, at=6.1) == [Renew("two", lease.renewal.number, 8)]
    assert host_lease.lent_until(lease.state) is None


def test_who_sees_its_own_death_reads_it_at_once() -> None:
    lease = held()
    gone = dead(found("a", "one", 7, number=101))
    assert kinds(lease.hear(PeersSeen((gone,)), at=0.5)) == [ReadOwn]
    assert lease.hear(PeersSeen((gone,)), at=0.6) == []
    assert lease.read(gone, at=0.7) == [KillAll(), Sweep()]
    assert lease.hear(PeersSeen((gone,)), at=0.8) == []


def test_nothing_revives_a_dead_record() -> None:
    """Neither a late answer to the incarnation that is dead, nor its revision."""
    lease = held()
    lease.hear(TimerDue(), at=2.0)
    number = lease.renewal.number
    lease.hear(NoAnswer(number), at=3.0)
    lease.hear(Refused("one", lease.renewal.number), at=3.1)
    lease.read(dead(found("a", "one", 7)), at=3.2)
    assert lease.hear(Renewed("one", number, 8), at=3.3) == []
    assert lease.hear(PeersSeen((found("a", "one", 7),)), at=3.4) == []
    assert lease.state.incarnation is None
    lease = Lease(adopts="one")
    assert lease.read(dead(found("a", "one", 7))) == [KillAll(), Sweep()]


@pytest.mark.parametrize("there", [None, dead(found("a", "three", 20))])
def test_a_record_that_is_gone_is_dead(there: Found | None) -> None:
    lease = held()
    refused(lease)
    assert lease.read(there, at=2.2) == [KillAll(), Sweep()]


def in_its_place(there: Found) -> Lease:
    """A held lease, in whose place something else lives; all is closed."""
    lease = held()
    refused(lease)
    assert lease.read(there, at=2.2) == [KillAll(), Sweep()]
    assert not lease.is_held
    lease.hear(Swept("two"), at=2.5)
    return lease


IN_ITS_PLACE = (
    found("a", "other", 20),
    # of the same incarnation, with a number that this process has not sent
    found("a", "one", 20, number=999_999),
)


@pytest.mark.parametrize("there", IN_ITS_PLACE)
def test_one_that_renews_in_its_place_is_another_machine(there: Found) -> None:
    lease = in_its_place(there)
    effects = lease.read(there, at=2.6)
    for revision in range(21, 24):
        assert effects == []
        lease.hear(TimerDue(), at=2.0 * revision)
        effects = lease.read(replace(there, revision=revision), at=2.0 * revision + 0.1)
    assert kinds(effects) == [KillAll, Exit]
    assert lease.state.stage is LeaseStage.OVER
    assert lease.hear(TimerDue(), at=100.0) == []
    assert host_lease.due_at(lease.state) is None


@pytest.mark.parametrize("there", IN_ITS_PLACE)
def test_one_that_nobody_renews_was_put_back_with_the_database(there: Found) -> None:
    lease = in_its_place(there)
    lease.read(there, at=2.6)
    lease.hear(TimerDue(), at=12.0)
    assert lease.read(there, at=12.1) == []
    lease.hear(TimerDue(), at=14.0)
    assert lease.read(there, at=14.1) == [Renew("two", lease.renewal.number, 20)]


# ---- an incarnation of before that still lives ----


def test_its_own_name_is_taken_after_nobody_renewed_it() -> None:
    """After a boot: the record of before is there, and what it ran is not."""
    lease = Lease()
    lease.hear(Swept("two"))
    assert lease.read(found("a", "one", 7), at=0.1) == []
    for at in range(1, 12):
        assert kinds(lease.hear(TimerDue(), at=float(at))) == [ReadOwn]
        effects = lease.read(found("a", "one", 7), at=at + 0.05)
    assert effects == []
    lease.hear(TimerDue(), at=12.0)
    assert lease.read(found("a", "one", 7), at=12.1)[0] == Renew("two", lease.renewal.number, 7)


def test_a_late_write_of_the_daemon_before_is_no_other_machine() -> None:
    lease = Lease()
    lease.hear(Swept("two"))
    lease.read(found("a", "one", 7), at=0.1)
    lease.hear(TimerDue(), at=6.0)
    assert lease.read(found("a", "one", 8), at=6.1) == []
    lease.hear(TimerDue(), at=16.0)
    assert lease.read(found("a", "one", 8), at=16.1) == []
    lease.hear(TimerDue(), at=18.0)
    assert kinds(lease.read(found("a", "one", 8), at=18.1)) == [Renew]


def test_a_machine_of_the_same_name_that_renews_is_left_alone() -> None:
    lease = Lease()
    lease.hear(Swept("two"))
    effects = lease.read(found("a", "one", 7), at=0.1)
    for revision in range(8, 11):
        assert effects == []
        lease.hear(TimerDue(), at=2.0 * revision)
        effects = lease.read(found("a", "one", revision), at=2.0 * revision + 0.1)
    assert kinds(effects) == [KillAll, Exit]


def test_an_adopted_incarnation_goes_on() -> None:
    lease = Lease(adopts="one")
    lease.hear(NoAnswer(100), at=1.5)
    assert lease.reads
    lease.read(found("a", "one", 7, number=3), at=1.6)
    assert lease.renewal == Renew("one", 102, 7)


def test_an_adopted_incarnation_that_is_replaced_is_swept() -> None:
    lease = Lease(adopts="one")
    assert lease.read(found("a", "two", 9)) == [KillAll(), Sweep()]


# ---- others ----


def test_who_does_not_renew_is_declared_dead_on_exactly_what_was_seen() -> None:
    lease = held()
    b, c = found("b", "x", 5), found("c", "y", 6)
    lease.hear(PeersSeen((b, c)), at=1.0)
    keep(lease, until=11)
    lease.hear(PeersSeen((b, found("c", "y", 9))), at=11.0)
    assert DeclareDead not in kinds(lease.hear(TimerDue(), at=11.9))
    effects = lease.hear(TimerDue(), at=12.0)
    assert [it for it in effects if isinstance(it, DeclareDead)] == [DeclareDead(b)]
    # the write may be lost: it is repeated, but not at once
    assert DeclareDead(b) not in lease.hear(TimerDue(), at=12.1)
    assert DeclareDead(b) in keep(lease, until=15)
    lease.hear(PeersSeen((dead(b), found("c", "y", 9))), at=15.1)
    assert DeclareDead(b) not in keep(lease, until=20)


def keep(lease: Lease, *, until: int) -> list[LeaseEffect]:
    """Renew the own lease each second until then; what else was asked for."""
    effects: list[LeaseEffect] = []
    for second in range(int(lease.now - 1_000.0) + 1, until + 1):
        effects += lease.hear(TimerDue(), at=float(second))
        if any(isinstance(it, Renew) for it in lease.effects):
            number = lease.renewal.number
            effects += lease.hear(Renewed("one", number, number), at=second + 0.01)
    return effects


def test_who_was_without_a_lease_leaves_the_others_time_to_renew() -> None:
    """The engine was away: nobody could renew."""
    lease = held()
    lease.hear(PeersSeen((found("b", "x", 5),)), at=0.2)
    lease.hear(TimerDue(), at=30.0)
    assert not lease.is_held
    lease.hear(Renewed("one", lease.renewal.number, 8), at=30.1)
    assert DeclareDead not in kinds(keep(lease, until=40))
    assert DeclareDead in kinds(keep(lease, until=42))


def test_a_host_with_a_longer_lease_has_longer() -> None:
    lease = held()
    lease.hear(PeersSeen((found("b", "x", 5, lasts=60.0),)), at=0.0)
    assert DeclareDead not in kinds(keep(lease, until=65))
    assert DeclareDead in kinds(keep(lease, until=67))


def test_a_newer_format_is_not_rewritten_and_keeps_from_claiming() -> None:
    lease = held()
    lease.hear(PeersSeen((found("b", "x", 5, format=FORMAT + 1),)), at=0.2)
    assert DeclareDead not in kinds(keep(lease, until=20))
    assert host_lease.view(lease.state, Moment(lease.now)).newer_format


def test_a_declared_time_is_due() -> None:
    lease = held()
    lease.hear(PeersSeen((found("b", "x", 5),)), at=0.2)
    state = replace(lease.state, confirmed=1_010.0, called_at=1_010.0)
    assert host_lease.due_at(state) == pytest.approx(1_000.2 + TERMS.dead_after)
