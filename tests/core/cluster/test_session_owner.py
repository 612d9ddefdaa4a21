"""Which sessions a host owns: claims, releases, what moves, and what an unknown answer means."""

from typing import Any

import pytest

from tests.core.cluster.hosts import dead, found, row
from waguard.core.cluster import session_owner
from waguard.core.cluster.host_lease import LeaseView
from waguard.core.cluster.lease_facts import TimerDue
from waguard.core.cluster.owner_facts import (
    Acquire,
    Claim,
    Claimed,
    ClaimRefused,
    CreateAsked,
    Deleted,
    DrainAsked,
    Ended,
    HolderRead,
    Lose,
    MoveAsked,
    NotAdmitted,
    OwnerEffect,
    OwnerFact,
    OwnersRead,
    ReadHolder,
    ReadOwners,
    Release,
    Stays,
    Unanswered,
)
from waguard.core.cluster.records import FORMAT, Found, Owner
from waguard.core.replace import replace
from waguard.core.session.facts import Moment


class Keeper:
    """The host ``a``, incarnation ``one``, and its peers ``b`` and ``c``."""

    def __init__(self, *peers: Found, adopted: tuple[str, ...] = (), room: int = 10) -> None:
        self.now, self.room = 1_000.0, room
        self.idle: frozenset[str] = frozenset()
        known = peers or (found("b", "x", room=5), found("c", "y", room=3))
        self.lease = LeaseView(
            host="a",
            incarnation="one",
            held_since=1.0,
            newer_format=False,
            peers={it.record.host: it for it in known},
        )
        self.state = session_owner.begin("a", frozenset(adopted))
        self.hear(TimerDue())

    def hear(self, fact: OwnerFact, *, after: float = 0.0) -> list[OwnerEffect]:
        """What follows from it, but that the rows are to be read."""
        self.now += after
        moment = Moment(self.now, wall=1_000_000.0 + self.now)
        step = session_owner.advance(self.state, fact, self.lease, moment)
        self.state = step.state
        return [it for it in step.effects if not isinstance(it, ReadOwners)]

    def see(self, *rows: Owner, after: float = 2.0) -> list[OwnerEffect]:
        """The rows are asked for, and answered, after so many seconds."""
        if self.state.reads:
            self.hear(Unanswered(ReadOwners()))
        effects = self.hear(TimerDue(), after=after)
        assert self.state.reads
        return effects + self.hear(OwnersRead(rows=rows, room=self.room, idle=self.idle))

    def show(self, **leases: Any) -> None:
        """What the leases show from now on."""
        self.lease = replace(self.lease, **leases)

    def own(self, *sessions: str) -> tuple[Owner, ...]:
        """Claim these; their rows."""
        for effect in self.see(*(row(it, to_host="a") for it in sessions)):
            assert isinstance(effect, Claim)
            self.hear(Claimed(effect, 1))
        assert set(self.state.owned) >= set(sessions)
        return tuple(row(it, "a", "one") for it in sessions)

    def peer(self, it: Found) -> None:
        """The watch shows another lease of a host."""
        self.show(peers={**self.lease.peers, it.record.host: it})


# ---- claims ----


def test_a_session_of_nobody_is_claimed_and_then_acquired() -> None:
    keeper = Keeper()
    (claim,) = keeper.see(row("s0"))
    assert claim == Claim(row("s0"), "one")
    assert keeper.see(row("s0")) == []  # the claim is under way
    assert isinstance(claim, Claim)
    assert keeper.hear(Claimed(claim, 1)) == [Acquire("s0", 1)]
    assert keeper.state.owned == {"s0": 1}
    assert keeper.see(row("s0", "a", "one")) == []


def test_a_claim_reads_the_row_then_the_holder_s_lease_then_writes() -> None:
    keeper = Keeper(dead(found("b", "x")), found("c", "y", room=3))
    there = row("s0", "b", "x", epoch=4)
    assert keeper.see(there) == [ReadHolder("b")]
    assert keeper.see(there) == []
    assert keeper.hear(HolderRead("b", dead(found("b", "x")))) == [Claim(there, "one")]


def test_one_reading_is_enough_for_all_sessions_of_a_host() -> None:
    keeper = Keeper(dead(found("b", "x")))
    rows = row("s0", "b", "x"), row("s1", "b", "x")
    assert keeper.see(*rows) == [ReadHolder("b")]
    assert keeper.hear(HolderRead("b", None)) == [Claim(it, "one") for it in rows]


def test_a_session_that_is_seen_during_a_reading_waits_for_the_next_one() -> None:
    """That reading may be older than its row."""
    keeper = Keeper(dead(found("b", "x")))
    first, later = row("s0", "b", "x"), row("s1", "b", "x")
    assert keeper.see(first) == [ReadHolder("b")]
    assert keeper.see(first, later) == []
    assert keeper.hear(HolderRead("b", None)) == [Claim(first, "one")]
    assert keeper.see(later) == [ReadHolder("b")]


def test_a_session_waits_for_its_turn_from_when_it_was_first_seen() -> None:
    """A claim that failed does not begin that again."""
    keeper = Keeper(found("c", "y", room=50), dead(found("b", "x")))
    there = row("s0", "b", "x")
    assert keeper.see(there) == []
    assert keeper.see(there) == [ReadHolder("b")]
    assert keeper.see(there) == []
    keeper.hear(Unanswered(ReadHolder("b")))
    assert keeper.see(there) == [ReadHolder("b")]


@pytest.mark.parametrize(
    ("there", "is_dead"),
    [
        (found("b", "x"), False),
        (dead(found("b", "x")), True),
        (found("b", "z"), True),
        (None, True),
        (dead(found("b", "x", format=FORMAT + 1)), False),
    ],
    ids=["alive", "declared dead", "another incarnation", "no record", "newer format"],
)
def test_only_the_engine_says_who_is_dead(
    there: Found | None,
    is_dead: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    keeper = Keeper(dead(found("b", "x")))
    holder = row("s0", "b", "x")
    keeper.see(holder)
    assert keeper.hear(HolderRead("b", there)) == ([Claim(holder, "one")] if is_dead else [])


def test_a_living_host_s_sessions_are_its_own() -> None:
    keeper = Keeper()
    assert keeper.see(row("s0", "b", "x")) == []


def test_an_earlier_incarnation_of_this_host_is_read_too() -> None:
    keeper = Keeper()
    assert keeper.see(row("s0", "a", "zero")) == [ReadHolder("a")]
    claim = Claim(row("s0", "a", "zero"), "one")
    assert keeper.hear(HolderRead("a", found("a", "one"))) == [claim]


def test_an_engine_that_does_not_answer_lets_nothing_be_claimed() -> None:
    keeper = Keeper(dead(found("b", "x")))
    there = row("s0", "b", "x")
    keeper.see(there)
    assert keeper.hear(Unanswered(ReadHolder("b"))) == []
    assert keeper.see(there) == [ReadHolder("b")]


def test_a_database_that_does_not_answer_lets_nothing_move() -> None:
    keeper = Keeper()
    keeper.own("s0")
    for _ in range(30):
        assert keeper.hear(TimerDue(), after=1.0) == []
        assert keeper.hear(Unanswered(ReadOwners())) == []
    assert keeper.state.owned == {"s0": 1}


def test_rows_that_are_not_there_move_nothing() -> None:
    """An empty answer is no deletion."""
    keeper = Keeper()
    keeper.own("s0")
    assert keeper.see() == []
    assert keeper.state.owned == {"s0": 1}
    assert keeper.hear(Deleted("s0")) == []
    assert keeper.state.owned == {}


def test_one_that_was_deleted_here_and_created_on_another_host_is_lost() -> None:
    keeper = Keeper(found("b", "x"))
    keeper.own("s0")
    keeper.hear(Deleted("s0"))
    assert keeper.see() == []
    assert keeper.see(row("s0", "b", "x")) == [Lose("s0")]
    keeper.hear(Ended("s0"))
    assert keeper.see(row("s0", "b", "x")) == []


def test_a_refused_claim_is_forgotten() -> None:
    keeper = Keeper()
    (claim,) = keeper.see(row("s0"))
    assert isinstance(claim, Claim)
    assert keeper.hear(ClaimRefused(claim)) == []
    assert keeper.see(row("s0", "b", "x", epoch=1)) == []


def test_a_claim_without_an_answer_may_have_been_written() -> None:
    keeper = Keeper()
    (claim,) = keeper.see(row("s0"))
    assert isinstance(claim, Claim)
    keeper.hear(Unanswered(claim))
    again = Claim(row("s0", "a", "one"), "one")
    assert keeper.see(row("s0", "a", "one")) == [again]
    assert keeper.hear(Claimed(again, 2)) == [Acquire("s0", 2)]


def test_the_own_lease_is_checked_after_the_claim() -> None:
    keeper = Keeper()
    (claim,) = keeper.see(row("s0"))
    assert isinstance(claim, Claim)
    keeper.show(held_since=None)
    assert keeper.hear(Claimed(claim, 1)) == []
    assert keeper.state.owned == {}


def test_a_claim_of_a_dead_incarnation_owns_nothing() -> None:
    keeper = Keeper()
    (claim,) = keeper.see(row("s0"))
    assert isinstance(claim, Claim)
    keeper.show(incarnation="two", held_since=50.0)
    assert keeper.hear(Claimed(claim, 1)) == []
    assert keeper.state.owned == {}


def test_without_a_lease_nothing_is_claimed() -> None:
    keeper = Keeper()
    keeper.show(held_since=None)
    assert keeper.see(row("s0"), row("s1", "a", "one")) == []


def test_beside_a_newer_format_only_the_own_ones_are_claimed() -> None:
    keeper = Keeper(adopted=("s1",))
    keeper.show(newer_format=True)
    own = row("s1", "a", "one")
    assert keeper.see(row("s0"), own) == [Claim(own, "one")]


def test_no_more_is_claimed_than_there_is_room_for() -> None:
    keeper = Keeper(dead(found("b", "x")), room=2)
    rows = [row("s0", "b", "x"), row("s1"), row("s2"), row("s3", "b", "x")]
    assert keeper.see(*rows) == [Claim(rows[1], "one"), ReadHolder("b")]
    assert keeper.see(*rows) == []


# ---- whose turn it is ----


def test_the_host_with_most_room_claims_at_once_and_each_next_one_later() -> None:
    keeper = Keeper(found("b", "x", room=20), found("c", "y", room=30))
    assert keeper.see(row("s0"), after=2.0) == []
    assert keeper.see(row("s0"), after=2.9) == []
    assert keeper.see(row("s0"), after=0.1 + 1.0) == [Claim(row("s0"), "one")]


def test_sessions_are_spread_over_who_has_room() -> None:
    keeper = Keeper(found("b", "x", room=10), room=10)
    rows = [row(f"s{n}") for n in range(4)]
    assert keeper.see(*rows) == [Claim(it, "one") for it in rows[0::2]]


def test_who_is_full_or_emptied_or_dead_has_no_turn() -> None:
    keeper = Keeper(
        found("b", "x", room=0), found("c", "y", room=30, drain=True), dead(found("d", "z", room=9))
    )
    assert keeper.see(row("s0")) == [Claim(row("s0"), "one")]


def test_a_released_session_is_left_to_the_host_that_was_asked_for() -> None:
    keeper = Keeper()
    there = row("s0", epoch=3, to_host="b")
    assert keeper.see(there) == []
    assert keeper.see(there, after=9.0) == []
    assert keeper.see(there, after=1.0) == [Claim(there, "one")]


def test_it_is_left_to_that_host_however_long_its_end_has_taken() -> None:
    """Also where it moves on before the rows were read again after its claim."""
    keeper = Keeper()
    (here,) = keeper.own("s0")
    keeper.hear(MoveAsked("s0", "b"))
    assert keeper.see(here, after=30.0) == []
    keeper.hear(Ended("s0"))
    there = row("s0", epoch=1, to_host="b")
    assert keeper.see(there) == []
    assert keeper.see(there, after=9.0) == []


@pytest.mark.parametrize("peers", [(dead(found("b", "x")),), ()], ids=["dead", "no record"])
def test_nothing_is_left_to_a_host_that_is_gone(peers: tuple[Found, ...]) -> None:
    keeper = Keeper(*peers, found("c", "y", room=3))
    there = row("s0", epoch=3, to_host="b")
    assert keeper.see(there) == [Claim(there, "one")]


def test_a_drained_host_takes_back_what_it_released_to_a_host_that_is_gone() -> None:
    """Where no other host takes it: it would run nowhere."""
    keeper = Keeper(found("b", "x", room=5), found("c", "y", room=1))
    keeper.own("s0")
    assert keeper.hear(DrainAsked(drain=True)) == [Release("s0", 1, "b")]
    keeper.hear(Ended("s0"))
    keeper.peer(dead(found("b", "x")))
    there = row("s0", epoch=1, to_host="b")
    assert keeper.see(there, row("new")) == []
    assert keeper.see(there, after=60.0) == [], "another one takes it"
    keeper.peer(found("c", "y", room=0))
    of_nobody = row("s1", "b", "x")
    assert keeper.see(there, row("new"), of_nobody) == [Claim(there, "one")]
    keeper.hear(Claimed(Claim(there, "one"), 2))
    keeper.peer(found("c", "y", room=1))
    assert keeper.see(row("s0", "a", "one", epoch=2)) == [Release("s0", 2, "c")]


def test_what_a_drained_host_could_not_write_stays_where_no_host_takes_it() -> None:
    keeper = Keeper(found("b", "x", room=1))
    keeper.own("s0")
    keeper.hear(DrainAsked(drain=True))
    keeper.hear(Ended("s0"))
    keeper.peer(dead(found("b", "x")))
    there = row("s0", "a", "one")
    assert keeper.see(there) == [Claim(there, "one")]


def test_a_session_that_was_released_to_this_host_is_claimed_at_once() -> None:
    keeper = Keeper(found("b", "x", room=50))
    there = row("s0", epoch=3, to_host="a")
    assert keeper.see(there) == [Claim(there, "one")]


def test_the_rows_are_read_at_once_when_somebody_died() -> None:
    keeper = Keeper()
    keeper.see()
    keeper.peer(dead(found("b", "x")))
    assert session_owner.due_at(keeper.state) > keeper.now
    keeper.hear(TimerDue(), after=0.1)
    assert keeper.state.reads


# ---- the lease runs out ----


def test_what_is_closed_with_the_lease_is_acquired_when_it_has_ended() -> None:
    keeper = Keeper()
    rows = keeper.own("s0")
    keeper.show(held_since=None)
    assert keeper.hear(TimerDue()) == []
    assert (keeper.state.owned, set(keeper.state.ending)) == ({}, {"s0"})
    keeper.show(held_since=1_020.0)
    assert keeper.see(*rows) == []
    keeper.hear(Ended("s0"))
    assert keeper.see(*rows) == [Claim(rows[0], "one")]


def test_an_interruption_that_is_over_closed_all_the_same() -> None:
    keeper = Keeper()
    keeper.own("s0")
    keeper.show(held_since=1_020.0)
    keeper.hear(TimerDue())
    assert (keeper.state.owned, set(keeper.state.ending)) == ({}, {"s0"})


def test_adopted_sessions_that_are_not_claimed_yet_stay_adopted() -> None:
    """Nobody here can close them yet: their workers do that, or are lent further."""
    keeper = Keeper(adopted=("s0",))
    keeper.show(held_since=None)
    there = row("s0", "a", "one")
    assert keeper.see(there) == []
    keeper.show(held_since=1_020.0)
    assert keeper.see(there) == [Claim(there, "one")]


def test_a_dead_incarnation_loses_all() -> None:
    keeper = Keeper(adopted=("s1",))
    keeper.own("s0")
    keeper.show(incarnation=None, held_since=None)
    assert keeper.hear(TimerDue()) == [Lose("s0"), Lose("s1")]
    keeper.show(incarnation="two", held_since=1_020.0)
    there = row("s0", "a", "one")
    assert keeper.see(there) == []
    keeper.hear(Ended("s0"))
    assert keeper.see(there) == [ReadHolder("a")]


def test_a_session_that_another_host_owns_is_lost() -> None:
    keeper = Keeper()
    keeper.own("s0")
    assert keeper.see(row("s0", "b", "x", epoch=2)) == [Lose("s0")]
    assert keeper.see(row("s0", "b", "x", epoch=2)) == []


def test_a_claim_that_the_database_forgot_is_lost() -> None:
    """A replica that was behind was promoted."""
    keeper = Keeper()
    keeper.own("s0")
    assert keeper.see(row("s0")) == [Lose("s0")]


# ---- a restart ----


def test_an_adopted_session_gets_a_new_epoch() -> None:
    keeper = Keeper(adopted=("s0", "s1"))
    own, other = row("s0", "a", "one", epoch=4), row("s1", "b", "x", epoch=7)
    claim = Claim(own, "one")
    assert keeper.see(own, other) == [claim, Lose("s1")]
    assert keeper.hear(Claimed(claim, 5)) == [Acquire("s0", 5)]
    assert keeper.state.adopted == frozenset()


def test_adopted_sessions_run_until_the_database_answers() -> None:
    keeper = Keeper(adopted=("s0",))
    keeper.hear(Unanswered(ReadOwners()))
    assert keeper.state.adopted == {"s0"}
    assert keeper.see() == []
    assert keeper.state.adopted == {"s0"}


# ---- releases ----


def test_a_session_moves_where_it_was_asked_to() -> None:
    keeper = Keeper()
    (here,) = keeper.own("s0")
    assert keeper.hear(MoveAsked("s0", "c")) == [Release("s0", 1, "c")]
    assert keeper.hear(MoveAsked("s0", "b")) == [], "it is on its way"
    assert keeper.see(here) == []
    keeper.hear(Ended("s0"))
    assert keeper.see(row("s0", epoch=1, to_host="c")) == []
    assert keeper.hear(MoveAsked("s0", "b")) == [], "it is no more this host's"


def test_a_session_moves_at_once_or_not_at_all() -> None:
    """Days later nobody expects it any more."""
    for peer in (found("b", "x", room=0), dead(found("b", "x")), found("b", "x", drain=True)):
        keeper = Keeper(peer)
        (here,) = keeper.own("s0")
        for to_host in ("b", "nobody", "a"):
            assert keeper.hear(MoveAsked("s0", to_host)) == []
        keeper.peer(found("b", "x", room=5))
        assert keeper.see(here) == []
        assert keeper.see(replace(here, to_host="b")) == [], "as an earlier waguard has kept it"


def test_a_reading_from_before_a_release_acquires_nothing() -> None:
    keeper = Keeper()
    (here,) = keeper.own("s0")
    keeper.hear(MoveAsked("s0", "c"))
    keeper.hear(TimerDue(), after=1.0)
    keeper.hear(Ended("s0"))
    assert keeper.hear(OwnersRead(rows=(here,), room=9)) == []


def test_a_release_that_is_not_known_to_be_written_may_still_be_on_its_way() -> None:
    """A new epoch first: the late release then finds another one."""
    keeper = Keeper()
    (here,) = keeper.own("s0")
    keeper.hear(MoveAsked("s0", "c"))
    keeper.hear(Ended("s0"))
    claim = Claim(here, "one")
    assert keeper.see(here) == [claim]
    assert keeper.hear(Claimed(claim, 2)) == [Acquire("s0", 2)]


def test_a_drained_host_moves_two_at_a_time_and_claims_none() -> None:
    keeper = Keeper(found("b", "x", room=2), found("c", "y", room=1))
    rows = keeper.own("s0", "s1", "s2", "s3")
    keeper.idle = frozenset({"s3"})
    keeper.see(*rows)
    releases = keeper.hear(DrainAsked(drain=True))
    assert releases == [Release("s3", 1, "b"), Release("s0", 1, "c")]
    assert keeper.see(*rows, row("s9")) == []
    assert keeper.hear(Ended("s3")) == [Release("s1", 1, "b")]


def test_sessions_that_cannot_leave_hold_up_no_drain_and_are_ended_less_and_less_often() -> None:
    keeper = Keeper(found("b", "x", room=9))
    rows = keeper.own("s0", "s1", "s2", "s3")
    asked = keeper.hear(DrainAsked(drain=True))
    assert asked == [Release("s0", 1, "b"), Release("s1", 1, "b")]
    after = keeper.hear(Stays("s0", 1, 60.0))
    assert after == [Acquire("s0", 1), Release("s2", 1, "b")], (
        "it goes on here, the next one leaves"
    )
    assert keeper.hear(Stays("s1", 1, 60.0)) == [Acquire("s1", 1), Release("s3", 1, "b")]
    for gone in ("s2", "s3"):
        keeper.hear(Ended(gone))
    pauses, begun = list[int](), keeper.now
    while len(pauses) < 8:
        for effect in keeper.see(*rows[:2], after=1.0):
            if effect == Release("s0", 1, "b"):
                pauses.append(round((keeper.now - begun) / 60))
                begun = keeper.now
            if isinstance(effect, Release):
                keeper.hear(Stays(effect.session, 1, 60.0))
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    keeper.hear(DrainAsked(drain=False))
    assert set(keeper.hear(DrainAsked(drain=True))) == {
        Release("s0", 1, "b"),
        Release("s1", 1, "b"),
    }


def test_what_cannot_leave_moves_for_nobody_but_a_person_until_its_pause_is_over() -> None:
    keeper = Keeper()
    keeper.own("s0")
    move = MoveAsked("s0", "b")
    assert keeper.hear(move) == [Release("s0", 1, "b")]
    assert keeper.hear(Stays("s0", 1, 60.0)) == [Acquire("s0", 1)]
    assert keeper.hear(NotAdmitted("s0")) == []
    assert keeper.hear(move) == [Release("s0", 1, "b")]
    assert keeper.hear(Stays("s0", 1, 60.0)) == [Acquire("s0", 1)]
    assert keeper.hear(NotAdmitted("s0"), after=120.0) == [Release("s0", 1, "b")]
    keeper.hear(Ended("s0"))
    assert keeper.state.stays == {}


@pytest.mark.parametrize("held_since", [None, 900.0])
def test_what_cannot_leave_ends_where_the_lease_was_not_held_meanwhile(
    held_since: float | None,
) -> None:
    """Another host may have it."""
    keeper = Keeper()
    keeper.own("s0")
    keeper.hear(MoveAsked("s0", "b"))
    keeper.show(held_since=None)
    keeper.hear(TimerDue())
    keeper.show(held_since=held_since)
    assert keeper.hear(Stays("s0", 1, 60.0)) == [Lose("s0")]
    assert set(keeper.state.ending) == {"s0"}


def test_what_was_released_before_does_not_stay() -> None:
    """That release may still be on its way to the database."""
    keeper = Keeper()
    keeper.own("s0")
    keeper.hear(DrainAsked(drain=True))
    keeper.hear(Ended("s0"))
    assert keeper.see(row("s0", "a", "one")) == [Release("s0", 1, "b")]
    assert keeper.hear(Stays("s0", 1, 60.0)) == [Lose("s0")]


def test_what_no_host_has_room_for_stays_until_one_has() -> None:
    keeper = Keeper(found("b", "x", room=0))
    rows = keeper.own("s0")
    assert keeper.hear(DrainAsked(drain=True)) == []
    keeper.peer(found("b", "x", room=1))
    assert keeper.see(*rows) == [Release("s0", 1, "b")]


def test_a_host_that_is_no_longer_drained_claims_again() -> None:
    keeper = Keeper()
    keeper.hear(DrainAsked(drain=True))
    assert session_owner.due_at(replace(keeper.state, reads=False)) == keeper.now + 1.0
    for _ in range(10):
        assert keeper.see(row("s0")) == []
    keeper.hear(DrainAsked(drain=False))
    assert keeper.see(row("s0")) == [Claim(row("s0"), "one")]


def test_a_drained_host_s_restart_releases_what_it_adopted() -> None:
    keeper = Keeper(adopted=("s0",))
    keeper.hear(DrainAsked(drain=True))
    own = row("s0", "a", "one", epoch=4)
    claim = Claim(own, "one")
    assert keeper.see(own) == [claim]
    assert keeper.hear(Claimed(claim, 5)) == [Acquire("s0", 5), Release("s0", 5, "b")]


def test_what_a_drained_host_could_not_write_is_written_again() -> None:
    keeper = Keeper()
    keeper.own("s0")
    keeper.hear(DrainAsked(drain=True))
    keeper.hear(Ended("s0"))
    assert keeper.see(row("s0", "a", "one")) == [Release("s0", 1, "b")]


def test_what_admission_holds_back_goes_to_who_has_room_once() -> None:
    keeper = Keeper()
    keeper.own("s0", "s1")
    fresh = row("s1", "a", "one", moved_at=1_000_000.0)
    keeper.see(row("s0", "a", "one", moved_at=1.0), fresh)
    assert keeper.hear(NotAdmitted("s0")) == [Release("s0", 1, "b")]
    assert keeper.hear(NotAdmitted("s1")) == []
    assert keeper.hear(NotAdmitted("nobody's")) == []


# ---- creation ----


def test_a_created_session_is_claimed_and_acquired() -> None:
    """What is sent and delivered for it needs it, though nothing was left of it."""
    keeper = Keeper()
    (claim,) = keeper.hear(CreateAsked(row("s0")))
    assert claim == Claim(row("s0"), "one")
    assert isinstance(claim, Claim)
    assert keeper.hear(Claimed(claim, 1)) == [Acquire("s0", 1)]
    assert keeper.state.owned == {"s0": 1}


@pytest.mark.parametrize(
    "leases", [{"held_since": None}, {"newer_format": True}, {"incarnation": None}]
)
def test_a_host_that_may_claim_nothing_creates_nothing(leases: dict[str, Any]) -> None:
    keeper = Keeper()
    keeper.show(**leases)
    assert keeper.hear(CreateAsked(row("s0"))) == []
    assert keeper.hear(CreateAsked(row("s1", "b", "x"))) == []


# ---- balance ----


def uneven(keeper: Keeper) -> tuple[Owner, ...]:
    rows = keeper.own(*(f"s{n}" for n in range(6)))
    keeper.idle = frozenset({"s2", "s4"})
    return rows


def test_one_idle_session_moves_after_ten_minutes() -> None:
    keeper = Keeper(found("b", "x", owned=2))
    rows = uneven(keeper)
    assert keeper.see(*rows) == []
    assert keeper.see(*rows, after=590.0) == []
    assert keeper.see(*rows, after=10.0) == [Release("s2", 1, "b")]
    assert keeper.see(*rows) == []  # one at a time


@pytest.mark.parametrize(
    "peers",
    [
        (found("b", "x", owned=3),),
        (found("b", "x", owned=0, room=0),),
        (found("b", "x", owned=0, drain=True),),
        (found("b", "x", owned=0), dead(found("c", "y"))),
        (found("b", "x", owned=9), found("c", "y", owned=0)),
    ],
    ids=["even enough", "no room", "drained", "a host is missing", "another one is fuller"],
)
def test_nothing_moves_for_balance(peers: tuple[Found, ...]) -> None:
    keeper = Keeper(*peers, room=10)
    rows = uneven(keeper)
    for _ in range(8):
        assert keeper.see(*rows, after=100.0) == []


def test_what_is_left_of_deleted_sessions_is_no_load_and_does_not_move() -> None:
    keeper = Keeper(found("b", "x", owned=5))
    rows = [replace(it, deleted=True) for it in uneven(keeper)]
    for _ in range(8):
        assert keeper.see(*rows, after=100.0) == []


def test_what_was_moved_stays_for_an_hour() -> None:
    keeper = Keeper(found("b", "x", owned=0))
    rows = [replace(it, moved_at=1_001_100.0) for it in uneven(keeper)]
    for _ in range(36):
        assert keeper.see(*rows, after=100.0) == []
    assert keeper.see(*rows, after=100.0) == [Release("s2", 1, "b")]


def test_an_even_moment_begins_the_ten_minutes_again() -> None:
    keeper = Keeper(found("b", "x", owned=0))
    rows = uneven(keeper)
    keeper.see(*rows, after=500.0)
    keeper.peer(found("b", "x", owned=5))
    keeper.see(*rows)
    keeper.peer(found("b", "x", owned=0))
    keeper.see(*rows)
    assert keeper.see(*rows, after=500.0) == []
    assert keeper.see(*rows, after=100.0) == [Release("s2", 1, "b")]


# ---- how often the rows are read ----


def test_the_rows_are_read_more_often_while_something_moves() -> None:
    keeper = Keeper(found("b", "x", room=50))
    keeper.see()
    assert session_owner.due_at(keeper.state) == keeper.now + 2.0
    keeper.see(row("s0"))
    assert session_owner.due_at(keeper.state) == keeper.now + 1.0
    keeper.see(row("s0", "b", "x"))
    keeper.peer(found("b", "x", drain=True))
    keeper.hear(TimerDue())
    assert session_owner.due_at(keeper.state) == keeper.now + 1.0
