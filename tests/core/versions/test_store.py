"""Which versions are proven, which documents are kept, what WhatsApp refuses, what survives a restart."""

import json

import pytest

from tests.core.version_bench import (
    MISSING,
    NEW,
    NEWER,
    OLD,
    RULES,
    WAJS,
    VersionBench,
    crossed,
    rolled_back,
)
from waguard.core.backoff import NEVER
from waguard.core.replace import replace
from waguard.core.versions.arms import APART, NEW_KEPT, needed
from waguard.core.versions.effects import Kind
from waguard.core.versions.facts import (
    Acked,
    Arm,
    Captured,
    Discarded,
    Evidence,
    Loaded,
    Pin,
    Refused,
    Spent,
    Try,
    Well,
)
from waguard.core.versions.policy import decode, encode, next_deadline, unservable
from waguard.core.versions.state import Confirmation, Good, StateError, initial
from waguard.core.versions.version_rules import VersionRules

GOOD_AFTER = RULES.good_after


def good(bench: VersionBench) -> set[int]:
    return set(bench.state.good)


# ---- proven ----


def test_a_version_is_proven_after_half_an_hour_with_acks_in_two_sessions() -> None:
    bench = VersionBench("a", "b", "c")
    bench.pass_time(GOOD_AFTER - 2)
    assert good(bench) == set()
    bench.pass_time(2)
    assert good(bench) == {OLD}


def test_one_session_with_acks_among_silent_ones_proves_nothing() -> None:
    bench = VersionBench("a")
    for name in "bc":
        bench.load(name)
        bench.post(Well(name))
    bench.pass_time(GOOD_AFTER)
    assert good(bench) == set()
    bench.post(Acked("b"))
    assert good(bench) == {OLD}


def test_in_a_fleet_of_one_one_session_is_enough() -> None:
    bench = VersionBench("a")
    bench.prove()
    assert good(bench) == {OLD}


def test_a_suspected_version_is_not_proven() -> None:
    bench = VersionBench("a", "b", "c")
    bench.unhealthy_with_new("a")
    bench.release(NEW, "b", "c")
    for name in "bc":
        bench.well(name)
    for _ in range(3):
        bench.pass_time(GOOD_AFTER / 2)
        bench.unhealthy("a")
    assert good(bench) == {OLD}


def test_a_session_that_is_unhealthy_for_its_own_reasons_keeps_nothing_from_being_proven() -> None:
    bench = VersionBench("a", "b", "c")
    bench.unhealthy("a")
    bench.prove()
    assert good(bench) == {OLD}


def test_what_is_not_stored_is_not_proven() -> None:
    bench = VersionBench()
    for name in "ab":
        bench.post(Loaded(name, NEW, WAJS, "network"))
        bench.well(name)
    bench.prove()
    assert good(bench) == set()
    bench.post(Captured(NEW))
    assert good(bench) == {NEW}


def test_what_is_held_back_is_not_proven() -> None:
    bench = VersionBench("a", "b", "c", "d")
    bench.unhealthy_with_new("a", "b", evidence=MISSING)
    bench.release(NEW, "c", "d")
    for name in "cd":
        bench.well(name)
    for _ in range(2):
        crossed(bench)
    bench.prove()
    assert good(bench) == {OLD}


# ---- what is kept ----


def stored(*ages: float) -> VersionBench:
    """One good version for each age (seconds)."""
    bench = VersionBench()
    revisions = {1000 - number: age for number, age in enumerate(ages)}
    found = {it: Good(bench.now - age, WAJS) for it, age in revisions.items()}
    bench.state = replace(bench.state, stored=frozenset(found), good=found)
    return bench


def test_eight_proven_documents_are_kept_at_most() -> None:
    bench = stored(*(APART * number for number in range(20)))
    assert len(needed(bench.state)) == RULES.keep


def test_the_four_newest_are_kept_and_older_ones_a_day_apart() -> None:
    hours = (1, 2, 3, 4, 5, 6, 7, 20, 30, 54, 55, 100)
    kept = needed(stored(*(3600.0 * it for it in hours)).state)
    ages = [hours[1000 - it] for it in kept]
    assert ages == [1, 2, 3, 4, 6, 30, 55, 100]


def test_a_build_every_three_hours_leaves_documents_of_days() -> None:
    bench = VersionBench()
    kept: tuple[int, ...] = ()
    for number in range(1, 100):
        now = bench.now + number * 10_800
        at = {it: bench.state.good[it] for it in kept} | {number: Good(now, WAJS)}
        bench.state = replace(bench.state, stored=frozenset(at), good=at)
        kept = needed(bench.state)
    ages = [(99 - it) * 3 for it in kept]
    assert len(ages) == RULES.keep
    assert ages[:4] == [0, 3, 6, 9]
    assert ages[-1] >= 72


def test_what_is_not_needed_any_more_is_discarded_once() -> None:
    bench = VersionBench("a", "b")
    for revision in range(1, 16):
        bench.post(Captured(revision))
        if gone := set(bench.discarded) & bench.state.stored:
            bench.post(Discarded(*gone))
    assert needed(bench.state) == (100, *range(15, 4, -1))
    assert bench.discarded == [1, 2, 3, 4]
    assert bench.state.stored == {100, *range(5, 16)}


def test_more_new_ones_are_kept_while_fewer_are_proven() -> None:
    for proven in (0, 3, RULES.keep):
        bench = stored(*(APART * number for number in range(proven)))
        new = frozenset(range(2000, 2020))
        bench.state = replace(bench.state, stored=bench.state.stored | new)
        assert len(needed(bench.state)) == RULES.keep + NEW_KEPT


def test_what_could_not_be_deleted_is_discarded_again_with_the_next() -> None:
    bench = VersionBench("a", "b")
    for revision in range(1, 14):
        bench.post(Captured(revision))
    bench.unhealthy("a")
    assert bench.discarded == [1, 1, 2]


def test_what_is_pinned_tried_or_stayed_with_is_kept() -> None:
    bench = VersionBench()
    arms = [Arm(it, WAJS) for it in range(10)]
    kept = Confirmation("a", arms[3], arms[2], MISSING, bench.now)
    bench.state = replace(bench.state, stored=frozenset(range(1, 90)), pin=1, confirmations=(kept,))
    assert needed(bench.state) == (*range(89, 77, -1), 2, 1)


# ---- refused ----


def test_a_refused_version_and_older_ones_are_not_served() -> None:
    bench = rolled_back()
    bench.post(Captured(OLD - 1))
    bench.post(Refused(OLD))
    assert (unservable(bench.state, OLD), unservable(bench.state, OLD - 1)) == (
        "WhatsApp refuses it as too old",
    ) * 2
    it = bench.announced(Kind.REFUSED)
    assert (it.revision, it.instead, it.person, bench.gets()) == (OLD, None, True, None)


def test_a_refused_pin_is_left_for_the_newest_that_is_allowed() -> None:
    bench = VersionBench("a", "b")
    bench.prove()
    bench.release(NEW, "b")
    bench.post(Pin(OLD))
    bench.load("a", well=True)
    bench.unhealthy("a", evidence=Evidence.TOO_OLD)
    bench.post(Refused(OLD))
    assert (bench.state.pin, bench.gets(), bench.reloads) == (None, None, [("a", None)])
    assert not bench.announced(Kind.REFUSED).person


def test_where_the_newest_is_refused_only_a_person_can_help() -> None:
    bench = VersionBench("a", "b")
    bench.prove()
    for _ in range(2):
        bench.post(Refused(OLD))
    assert bench.kinds == [Kind.REFUSED]
    assert (bench.announced(Kind.REFUSED).person, bench.state.floor) == (True, 0)
    assert unservable(bench.state, OLD) == "WhatsApp refuses it as too old"


def test_a_page_that_was_loaded_before_its_version_was_refused_asks_for_a_newer_one_once() -> None:
    bench = VersionBench("a", "b")
    bench.pass_time(60)
    for name in "ab":
        bench.post(Refused(OLD))
        bench.unhealthy(name, evidence=Evidence.TOO_OLD)
    assert bench.reloads == [("a", None), ("b", None)]
    bench.newest = NEW
    bench.load("a", well=True)
    bench.newest = OLD  # there is a newer one, and b does not get it: it is asked ever more rarely
    for _ in range(2):
        bench.load("b")
        bench.post(Refused(OLD))
        bench.unhealthy("b", evidence=Evidence.TOO_OLD)
    assert bench.state.floor == OLD
    assert bench.reloads[2:] == [("b", None)]
    bench.pass_time(RULES.pause - 2)
    assert len(bench.reloads) == 3
    bench.pass_time(2)
    assert bench.reloads[3:] == [("b", None)]


def test_where_the_network_has_no_newer_one_it_is_asked_no_more() -> None:
    bench = VersionBench("a", "b")
    bench.pass_time(60)
    bench.post(Refused(OLD))
    bench.unhealthy("a", evidence=Evidence.TOO_OLD)
    bench.load("a")
    bench.post(Refused(OLD))
    bench.unhealthy("a", evidence=Evidence.TOO_OLD)
    bench.pass_time(RULES.pause_limit)
    assert bench.reloads == [("a", None)]


def test_an_older_refusal_changes_nothing() -> None:
    bench = VersionBench("a")
    bench.release(NEW, "a")
    bench.post(Refused(50))
    bench.post(Refused(40))
    assert (bench.state.floor, bench.kinds) == (50, [Kind.REFUSED])


# ---- spent ----


def test_a_spent_document_is_discarded_and_not_served() -> None:
    bench = rolled_back()
    for _ in range(2):
        bench.post(Spent(OLD))
    it = bench.announced(Kind.SPENT)
    assert (bench.kinds.count(Kind.SPENT), it.instead, it.person) == (1, None, True)
    assert (bench.discarded, bench.gets()) == ([OLD], None)
    bench.post(Discarded(OLD))
    assert unservable(bench.state, OLD) == "its document is not stored here"


def test_a_spent_pin_is_left() -> None:
    bench = VersionBench("a", "b")
    bench.prove()
    bench.post(Pin(OLD))
    bench.post(Spent(OLD))
    assert (bench.state.pin, bench.gets()) == (None, None)


def test_what_the_network_served_again_is_not_spent() -> None:
    bench = VersionBench("a", "b")
    bench.post(Spent(OLD))
    bench.post(Captured(OLD))
    assert unservable(bench.state, OLD) is None


# ---- a restart of the daemon ----


def test_what_was_decided_survives_a_restart() -> None:
    bench = rolled_back()
    again = decode(encode(bench.state), RULES, now=bench.now)
    it = bench.state
    assert again == replace(it, members={})


def test_a_trial_does_not_survive_it() -> None:
    bench = VersionBench("a", "b")
    bench.unhealthy_with_new("a")
    bench.state = decode(encode(bench.state), RULES, now=bench.now)
    assert (bench.state.trial, bench.gets("a")) == (None, None)
    before = len(bench.reloads)
    bench.load("a")
    bench.unhealthy("a")
    bench.pass_time(RULES.well_for)
    assert bench.reloads[before:] == [("a", OLD)]  # the evidence is there again


def test_a_daemon_that_is_restarted_every_few_minutes_tries_ever_more_rarely() -> None:
    bench = VersionBench("a", "b")
    bench.unhealthy_with_new("a")
    tried = [len(bench.reloads)]
    for _ in range(40):  # each minute one restart and a half
        bench.restart()
        bench.load("a", NEW)
        bench.unhealthy("a")
        bench.pass_time(90)
        tried.append(len(bench.reloads))
    hour = len(tried) // 2
    assert tried[-1] - tried[hour] <= 2
    assert tried[-1] <= 8


def test_what_a_crossover_failed_with_is_avoided_after_a_restart() -> None:
    bench = VersionBench("a", "b")
    bench.unhealthy_with_new("a")
    bench.load("a")
    bench.unhealthy("a")  # with OLD, too
    assert bench.state.doubted
    state = bench.state
    bench.restart()
    assert bench.state.doubted == state.doubted


def test_who_does_not_get_what_it_should_is_not_loaded_again_at_each_start_of_the_daemon() -> None:
    bench = rolled_back()
    bench.load("d", NEW)  # something lies between waguard and the page
    bench.unhealthy("d")
    bench.pass_time(RULES.pause)
    bench.load("d", NEW)
    before = bench.reloads.count(("d", OLD))
    for _ in range(5):
        bench.restart()
        bench.adopt("d", NEW)
        bench.unhealthy("d")
        bench.pass_time(60)
    assert bench.reloads.count(("d", OLD)) == before
    bench.pass_time(2 * RULES.pause)
    assert bench.reloads.count(("d", OLD)) == before + 1


def test_a_clock_that_was_set_back_holds_nothing_up_for_ever() -> None:
    bench = rolled_back()
    year = 365 * 86_400
    state = decode(encode(bench.state), RULES, now=bench.now - year)
    assert state.hold
    assert state.hold.since == state.at == bench.now - year
    assert state.canary.at <= state.at + RULES.canary_limit
    assert next_deadline(state) < NEVER


def test_a_newest_version_that_was_refused_before_the_clock_was_set_back_is_asked_for_no_more() -> (
    None
):
    bench = VersionBench("a", "b")
    bench.prove()
    bench.post(Refused(OLD))
    bench.now -= 86_400
    bench.state = decode(encode(bench.state), RULES, now=bench.now)
    for _ in range(5):
        bench.load("a")
        bench.unhealthy("a", evidence=Evidence.TOO_OLD)
        bench.pass_time(RULES.pause)
    assert bench.reloads == []


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b'{"format": 2}', b"\xff", b"[" * 5000, encode(initial("x"))[:-5]],
)
def test_a_file_that_is_no_state_is_one_clear_error(data: bytes) -> None:
    with pytest.raises(StateError, match="it is not a state of versions"):
        decode(data, RULES, now=0.0)


def test_a_state_without_its_bundle_is_none() -> None:
    kept = json.loads(encode(initial("x"))) | {"bundles": []}
    with pytest.raises(StateError, match="the bundle in use is none of the bundles"):
        decode(json.dumps(kept).encode(), VersionRules(), now=0.0)


def test_a_wish_for_a_version_does_not_survive_it() -> None:
    bench = VersionBench("a", "b")
    bench.unhealthy_with_new("a")
    bench.post(Try(revision=OLD, session="b"))
    assert bench.state.requested
    assert decode(encode(bench.state), RULES, now=bench.now).requested is None


def test_newer_than_the_newest_is_the_newest() -> None:
    bench = VersionBench("a")
    bench.post(Captured(NEWER))
    bench.post(Captured(NEW))
    assert bench.state.newest == NEWER
