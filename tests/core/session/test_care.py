"""What is tried for a page before a condition begins, when it begins, and when it is over."""

from typing import Any

import pytest

from tests.core.engine_bench import CONNECTED, WALL, EngineBench, Script
from waguard.core.fleet.network import Reading
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.page_care import (
    COVERED_LIMIT,
    OFFLINE_LIMIT,
    PAIRING_LIMIT,
    PASSKEY_GRACE,
    SYNCING_LIMIT,
    UNSURE_LIMIT,
    UPDATE_APART,
    UPDATE_FORGOTTEN,
    UPDATE_PATIENCE,
    Kind,
    Step,
)
from waguard.core.recycle import IDLE
from waguard.core.session.deadlines import LINK_STABLE, NEVER, next_deadline
from waguard.core.session.effects import ReadIdle, RefusalChanged
from waguard.core.session.facts import IdleRead, Noticed, RestartRequested, StopRequested
from waguard.core.session.probe import Limits
from waguard.core.session.state import Replacement, Rules
from waguard.core.status import ParkCause

GHOST = "its socket is OPENING, its stream MAIN NORMAL"
AWAY = Reading(reachable=False, error="refused")
NEWER = "there is a newer version of WhatsApp Web"


@pytest.fixture
def bench() -> EngineBench:
    """One session that is connected."""
    made = EngineBench("s")
    made.start("s")
    made.pass_time(1)
    return made


def said(bench: EngineBench, link: Link, **fields: Any) -> None:
    bench.report("s", link, **fields)


def kinds(bench: EngineBench) -> list[Kind]:
    return list(bench.state("s").care.found)


def workers(bench: EngineBench) -> int:
    return bench.state("s").workers


def done(bench: EngineBench) -> tuple[int, int]:
    """Reloads and planned replacements so far."""
    return bench.reloads("s"), len(bench.records("s", "recycled"))


# ---- a newer version ----


def test_a_newer_version_is_loaded_once_and_when_nothing_is_under_way(bench: EngineBench) -> None:
    bench.idle = None
    said(bench, Link.CONNECTED, update_offered=True)
    bench.pass_time(2 * IDLE)
    bench.idle = 0.0
    bench.pass_time(1)
    assert bench.reloads("s") == 0
    bench.idle = IDLE
    bench.pass_time(IDLE)  # it is asked again when it can be idle
    assert bench.records("s", "reloaded") == [NEWER]
    said(bench, Link.UNKNOWN)
    said(bench, Link.CONNECTED, loads=2)
    bench.pass_time(2 * UPDATE_APART)
    assert (done(bench), kinds(bench), workers(bench)) == ((1, 0), [], 1)


def test_one_that_is_never_idle_is_loaded_between_two_calls_in_the_end(bench: EngineBench) -> None:
    bench.idle = 0.0
    said(bench, Link.CONNECTED, update_offered=True)
    bench.pass_time(UPDATE_PATIENCE - 1, step=5.0)
    assert bench.reloads("s") == 0
    bench.pass_time(IDLE)
    assert bench.reloads("s") == 1


def test_a_notice_that_persists_is_reported_after_two_loads_and_is_no_loop(
    bench: EngineBench,
) -> None:
    said(bench, Link.CONNECTED, update_offered=True)
    assert bench.reloads("s") == 0  # the deadline is a fact of its own
    bench.pass_time(1)
    assert bench.reloads("s") == 1
    # WhatsApp offers the update some time after a load: that the page says nothing yet is no success
    said(bench, Link.CONNECTED, loads=2)
    bench.pass_time(60)
    said(bench, Link.CONNECTED, loads=2, update_offered=True)
    bench.pass_time(UPDATE_APART)
    assert (bench.reloads("s"), kinds(bench)) == (2, [])
    bench.pass_time(UPDATE_APART)
    assert (bench.reloads("s"), kinds(bench)) == (2, [Kind.UPDATE_PERSISTS])
    bench.pass_time(3_600, step=5.0)
    assert bench.reloads("s") == 2
    (why,) = bench.records("s", "update_persists")
    assert "still asks for its newer version" in str(why)
    said(bench, Link.CONNECTED, loads=3)
    assert kinds(bench) == []
    assert len(bench.records("s", "update_persists_over")) == 1


def test_it_is_loaded_only_while_it_is_connected(bench: EngineBench) -> None:
    said(bench, Link.OFFLINE, update_offered=True)
    bench.pass_time(OFFLINE_LIMIT - 1)
    assert bench.reloads("s") == 0


@pytest.mark.parametrize(
    ("link", "word", "cause"),
    [
        (Link.NEEDS_UPDATE, "DEPRECATED_VERSION", ParkCause.NEEDS_UPDATE),
        (Link.BLOCKED, "TOS_BLOCK", ParkCause.BLOCKED),
    ],
)
def test_only_the_hard_variant_is_a_block(
    bench: EngineBench, link: Link, word: str, cause: ParkCause
) -> None:
    said(bench, link, details=word)
    assert (bench.lifecycle("s"), bench.state("s").parked) == (State.PARKED, cause)


# ---- a passkey ----


def passkey(bench: EngineBench, left: float = 600.0) -> float:
    """It asks for one; unix time of its end."""
    until = WALL + bench.at + left
    said(bench, Link.PASSKEY_REQUIRED, passkey_until=until, passkey_left=left)
    return until


def test_a_linking_that_waits_for_a_passkey_is_left_alone(bench: EngineBench) -> None:
    until = passkey(bench)
    (found,) = bench.state("s").care.found.values()
    assert (kinds(bench), found.until) == ([Kind.PASSKEY_REQUIRED], until)
    bench.pass_time(599)
    assert (done(bench), workers(bench)) == ((0, 0), 1)
    said(bench, Link.CONNECTED)
    assert kinds(bench) == []


def test_when_a_passkeys_time_is_up_the_page_is_loaded_once(bench: EngineBench) -> None:
    passkey(bench)
    bench.pass_time(600 + PASSKEY_GRACE - 1)
    assert bench.reloads("s") == 0
    bench.pass_time(1)
    assert bench.records("s", "reloaded") == ["nobody showed the passkey in time"]
    bench.pass_time(600)
    assert bench.reloads("s") == 1
    passkey(bench)  # another attempt has its own time
    bench.pass_time(600 + PASSKEY_GRACE)
    assert bench.reloads("s") == 2


def test_another_passkey_is_said_with_its_own_time(bench: EngineBench) -> None:
    passkey(bench)
    (first,) = bench.state("s").care.found.values()
    bench.pass_time(100)
    until = passkey(bench)
    (second,) = bench.state("s").care.found.values()
    assert (second.until, second.message != first.message) == (until, True)
    assert (second.at, second.since) == (first.at, first.since)
    assert len(bench.records("s", "passkey_required")) == 1


# ---- a link that does not move ----


def test_a_ghost_socket_is_reloaded_then_replaced_then_reported(bench: EngineBench) -> None:
    said(bench, Link.OFFLINE, socket=GHOST)
    bench.pass_time(OFFLINE_LIMIT - 1)
    assert done(bench) == (0, 0)
    bench.pass_time(1)
    assert done(bench) == (1, 0)
    (why,) = bench.records("s", "reloaded")
    assert why == f"no connection to WhatsApp for 180 s while the network is there: {GHOST}"
    bench.script = Script(reports=({"link": Link.OFFLINE, "socket": GHOST},))
    said(bench, Link.UNKNOWN)
    said(bench, Link.OFFLINE, socket=GHOST)
    bench.pass_time(OFFLINE_LIMIT - 1)
    assert done(bench) == (1, 0)
    bench.pass_time(1)
    assert (done(bench), workers(bench), bench.state("s").restarts) == ((1, 1), 2, 0)
    bench.pass_time(OFFLINE_LIMIT)
    assert kinds(bench) == [Kind.LINK_STUCK]
    bench.pass_time(3_000, step=5.0)
    assert (done(bench), workers(bench)) == ((1, 1), 2)
    (recorded,) = bench.records("s", "link_stuck")
    assert "neither a reload nor a replacement helped" in str(recorded)
    said(bench, Link.CONNECTED)
    assert kinds(bench) == []


@pytest.mark.parametrize("link", [Link.QR_PENDING, Link.SYNCING])
def test_a_link_that_moves_on_is_stuck_no_more(bench: EngineBench, link: Link) -> None:
    bench.script = Script(reports=({"link": Link.OFFLINE},))
    said(bench, Link.OFFLINE)
    bench.pass_time(3 * OFFLINE_LIMIT + 3)
    assert kinds(bench) == [Kind.LINK_STUCK]
    said(bench, Link.UNKNOWN)
    assert kinds(bench) == [Kind.LINK_STUCK]
    said(bench, link)
    assert kinds(bench) == []


@pytest.mark.parametrize(
    ("link", "limit"), [(Link.PAIRING, PAIRING_LIMIT), (Link.SYNCING, SYNCING_LIMIT)]
)
def test_linking_and_synchronization_end_or_are_reported(
    bench: EngineBench, link: Link, limit: float
) -> None:
    bench.script = Script(reports=({"link": link},))
    said(bench, link)
    bench.pass_time(limit - 1)
    assert done(bench) == (0, 0)
    bench.pass_time(1)
    assert done(bench) == (1, 0)
    bench.pass_time(limit)
    assert (done(bench), bench.link("s"), bench.state("s").restarts) == ((1, 1), link, 0)
    bench.pass_time(limit)
    assert kinds(bench) == [Kind.LINK_STUCK]
    said(bench, Link.CONNECTED)
    assert kinds(bench) == []


def test_where_whatsapp_serves_no_page_it_is_asked_again_and_nothing_else_is_tried(
    bench: EngineBench,
) -> None:
    why = "WhatsApp answers with HTTP status 500"
    said(bench, Link.OFFLINE, refused=True, details=why)
    assert kinds(bench) == [Kind.WHATSAPP_REFUSES]
    assert bench.records("s", "whatsapp_refuses") == [why]
    bench.pass_time(3 * OFFLINE_LIMIT)
    assert (workers(bench), bench.state("s").restarts) == (1, 0)
    assert set(bench.records("s", "reloaded")) == {
        "it is the next session to ask WhatsApp for its page"
    }  # by the fleet's schedule
    said(bench, Link.CONNECTED)
    assert kinds(bench) == []


def test_a_ghost_that_comes_back_at_once_is_no_loop(bench: EngineBench) -> None:
    said(bench, Link.OFFLINE)
    bench.pass_time(OFFLINE_LIMIT)
    assert done(bench) == (1, 0)
    said(bench, Link.CONNECTED)
    bench.pass_time(LINK_STABLE - 1)
    said(bench, Link.OFFLINE)
    bench.pass_time(OFFLINE_LIMIT)
    assert done(bench) == (1, 1)
    bench.pass_time(LINK_STABLE - 1)
    said(bench, Link.OFFLINE)
    bench.pass_time(3 * OFFLINE_LIMIT)
    assert (done(bench), kinds(bench)) == ((1, 1), [Kind.LINK_STUCK])
    said(bench, Link.CONNECTED)
    bench.pass_time(LINK_STABLE)  # connected for long: what was tried then may help again
    said(bench, Link.OFFLINE)
    bench.pass_time(OFFLINE_LIMIT)
    assert done(bench) == (2, 1)


def test_while_the_network_is_away_nothing_is_tried(bench: EngineBench) -> None:
    bench.network = AWAY
    said(bench, Link.OFFLINE)
    bench.pass_time(3 * UNSURE_LIMIT, step=5.0)
    assert bench.fleet.network_down
    assert done(bench) == (0, 0)


def test_the_time_in_which_the_network_was_away_does_not_count(bench: EngineBench) -> None:
    bench.add("other")
    bench.start("other")
    bench.network = AWAY
    said(bench, Link.OFFLINE)
    bench.report("other", Link.OFFLINE)
    bench.pass_time(3 * OFFLINE_LIMIT)
    bench.network = Reading()
    bench.report("other", Link.CONNECTED)
    assert bench.fleet.network_down is None
    bench.pass_time(OFFLINE_LIMIT - 1)
    assert done(bench) == (0, 0)
    bench.pass_time(1)
    assert done(bench) == (1, 0)


def test_where_only_the_sessions_say_so_each_page_is_reloaded_once(bench: EngineBench) -> None:
    """All of them may be stuck since the network was away."""
    bench.network = AWAY
    said(bench, Link.OFFLINE)
    bench.pass_time(10)
    bench.network = Reading()
    bench.pass_time(UNSURE_LIMIT - 11)
    assert bench.fleet.network_unsure
    assert done(bench) == (0, 0)
    bench.pass_time(1)
    assert done(bench) == (1, 0)
    bench.pass_time(3 * UNSURE_LIMIT, step=5.0)
    assert (done(bench), kinds(bench)) == ((1, 0), [])


# ---- a dialog, and what the message plane notices ----


def test_a_dialog_over_the_page_is_reported_when_it_stays(bench: EngineBench) -> None:
    said(bench, Link.CONNECTED, covered=True)
    bench.pass_time(COVERED_LIMIT - 1)
    assert kinds(bench) == []
    bench.pass_time(1)
    assert kinds(bench) == [Kind.ACTION_REQUIRED]
    said(bench, Link.CONNECTED)
    assert kinds(bench) == []


def test_a_dialog_that_is_closed_in_time_is_none(bench: EngineBench) -> None:
    said(bench, Link.CONNECTED, covered=True)
    bench.pass_time(COVERED_LIMIT - 1)
    said(bench, Link.CONNECTED)
    bench.pass_time(COVERED_LIMIT)
    assert bench.records("s", "action_required") == []


def test_what_is_noticed_is_reported_once_and_its_words_may_change(bench: EngineBench) -> None:
    for words in ("two sends", "three sends"):
        bench.post("s", Noticed(kind=Kind.ACKS_IN_VAIN, message=words, since=5.0))
        bench.pass_time(1)
    assert bench.records("s", "acks_in_vain") == ["two sends"]
    (found,) = bench.state("s").care.found.values()
    assert (found.message, found.since) == ("three sends", 5.0)
    for _ in range(2):
        bench.post("s", Noticed(kind=Kind.ACKS_IN_VAIN, message=None))
    assert bench.records("s", "acks_in_vain_over") == ["it is over"]


def test_a_replacement_keeps_what_is_known_and_a_stop_ends_it(bench: EngineBench) -> None:
    bench.post("s", Noticed(kind=Kind.UNDECRYPTABLE, message="a message"))
    bench.exit("s", 13)
    assert (workers(bench), kinds(bench)) == (2, [Kind.UNDECRYPTABLE])
    bench.post("s", StopRequested())
    assert kinds(bench) == []
    assert bench.records("s", "undecryptable_over") == ["it is over"]
    assert next_deadline(bench.state("s")) == NEVER


def test_a_healthy_page_has_no_deadline_but_those_of_its_answers(bench: EngineBench) -> None:
    silent = bench.state("s").rules.limits.notice
    assert bench.script.reports == (CONNECTED,)
    assert next_deadline(bench.state("s")) == bench.worker("s").heard_at + silent


# ---- what a report says of the page ----


def refusals(bench: EngineBench) -> list[RefusalChanged]:
    return bench.effects("s", RefusalChanged)


def test_a_refusal_is_said_when_it_begins_and_when_it_is_over(bench: EngineBench) -> None:
    for _ in range(2):
        said(bench, Link.UNKNOWN, refused=True, details="HTTP status 503", retry_after=30.0)
        assert refusals(bench) == [RefusalChanged("HTTP status 503", 30.0)]
    said(bench, Link.UNKNOWN)
    assert refusals(bench)[1:] == [RefusalChanged(None)]
    assert kinds(bench) == [Kind.WHATSAPP_REFUSES], "until the page reports its link"
    said(bench, Link.OFFLINE)
    assert kinds(bench) == []


def test_a_page_that_still_loads_begins_and_ends_no_condition(bench: EngineBench) -> None:
    bench.script = Script(reports=({"phase": "loading", "link": Link.UNKNOWN},))
    bench.post("s", Noticed(kind=Kind.ACTION_REQUIRED, message="a dialog"))
    bench.exit("s", 13)
    bench.tick()
    bench.report("s", Link.UNKNOWN, phase="loading", refused=True, details="HTTP status 503")
    assert kinds(bench) == [Kind.ACTION_REQUIRED]
    bench.report("s", Link.UNKNOWN, refused=True, details="HTTP status 503")
    assert kinds(bench) == [Kind.WHATSAPP_REFUSES]


def test_a_notice_that_began_while_it_was_connected_goes_on_while_it_is_not(
    bench: EngineBench,
) -> None:
    bench.idle = None
    began = bench.at
    said(bench, Link.CONNECTED, update_offered=True, covered=True)
    bench.pass_time(10)
    said(bench, Link.OFFLINE, update_offered=True, covered=True)
    worker = bench.worker("s")
    assert (worker.update_since, worker.covered_since) == (began, began)
    said(bench, Link.OFFLINE)
    worker = bench.worker("s")
    assert (worker.update_since, worker.covered_since) == (None, None)
    said(bench, Link.OFFLINE, update_offered=True, covered=True)
    worker = bench.worker("s")
    assert (worker.update_since, worker.covered_since) == (None, None)


def test_a_busy_session_is_asked_again_when_it_can_be_idle(bench: EngineBench) -> None:
    bench.idle = IDLE - 20.0
    said(bench, Link.CONNECTED, update_offered=True)
    bench.tick()
    assert len(bench.effects("s", ReadIdle)) == 1
    bench.pass_time(19)
    assert len(bench.effects("s", ReadIdle)) == 1
    bench.idle = None
    bench.pass_time(1)
    assert len(bench.effects("s", ReadIdle)) == 2
    bench.pass_time(3)
    assert len(bench.effects("s", ReadIdle)) == 5, "a call may end at any time"


def test_an_answer_that_comes_late_loads_nothing(bench: EngineBench) -> None:
    bench.post("s", IdleRead(IDLE))
    assert bench.reloads("s") == 0
    said(bench, Link.CONNECTED, update_offered=True)
    bench.script = Script(obeys=False)
    bench.post("s", StopRequested())
    bench.post("s", IdleRead(IDLE))
    assert bench.reloads("s") == 0


def test_only_the_newest_loads_are_remembered(bench: EngineBench) -> None:
    for _ in range(4):
        said(bench, Link.CONNECTED, update_offered=True)
        bench.pass_time(UPDATE_FORGOTTEN + 1, step=8.0)
        said(bench, Link.CONNECTED)
        bench.pass_time(1)
    assert bench.reloads("s") > 4
    assert len(bench.state("s").care.reloads) == 2


def test_a_replacement_that_waits_is_not_needed_where_the_link_moved(bench: EngineBench) -> None:
    said(bench, Link.OFFLINE)
    bench.pass_time(OFFLINE_LIMIT)
    bench.script = Script(reports=({"phase": "loading", "link": Link.UNKNOWN},))
    for name in ("a", "b"):
        bench.add(name, rules=Rules(limits=Limits(start=1e6)))
    bench.start("a", "b")
    bench.pass_time(OFFLINE_LIMIT)
    assert bench.state("s").replacement == Replacement(
        "no connection to WhatsApp for 360 s while the network is there: None", Link.OFFLINE
    )
    said(bench, Link.UNKNOWN)
    said(bench, Link.OFFLINE)
    assert bench.state("s").replacement
    said(bench, Link.SYNCING)
    assert bench.state("s").replacement is None
    assert bench.state("s").care.tried == ((Link.OFFLINE, Step.RELOAD),)
    bench.report("a")
    assert workers(bench) == 1


def test_a_planned_restart_is_needed_whatever_the_link_does(bench: EngineBench) -> None:
    bench.script = Script(reports=({"phase": "loading", "link": Link.UNKNOWN},))
    for name in ("a", "b"):
        bench.add(name)
    bench.start("a", "b")
    bench.post("s", RestartRequested(why="memory"))
    said(bench, Link.SYNCING)
    assert bench.state("s").replacement == Replacement("memory")


def test_what_was_noticed_counts_since_it_was_in_the_time_of_people(bench: EngineBench) -> None:
    wall = WALL + bench.at
    bench.post("s", Noticed(kind=Kind.ACKS_IN_VAIN, message="two sends", since=wall - 40.0))
    (found,) = bench.state("s").care.found.values()
    assert (found.at, found.since) == (bench.at - 40.0, wall - 40.0)
    bench.post("s", Noticed(kind=Kind.ACKS_IN_VAIN, message=None))
    bench.post("s", Noticed(kind=Kind.ACKS_IN_VAIN, message="two sends"))
    (found,) = bench.state("s").care.found.values()
    assert (found.at, found.since) == (bench.at, wall)


def test_where_the_network_may_be_away_the_words_say_so(bench: EngineBench) -> None:
    bench.network = AWAY
    said(bench, Link.OFFLINE, socket=GHOST)
    bench.pass_time(10)
    bench.network = Reading()
    bench.pass_time(UNSURE_LIMIT)
    words = f"no connection to WhatsApp for 900 s while the network may be there: {GHOST}"
    assert bench.records("s", "reloaded") == [words]
