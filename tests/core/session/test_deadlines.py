"""When something happens because time has passed, and what."""

from typing import Any

import pytest

from tests.core.engine_bench import DOWN, LOADING, EngineBench, Script
from waguard.core.backoff import NEVER
from waguard.core.link import Link
from waguard.core.page_care import (
    COVERED_LIMIT,
    OFFLINE_LIMIT,
    PASSKEY_GRACE,
    STUCK_AGAIN,
    UNSURE_LIMIT,
    UPDATE_APART,
    Kind,
    Step,
)
from waguard.core.passkey_link import WAITING, PasskeyLink, PasskeyStage
from waguard.core.replace import replace
from waguard.core.session.deadlines import (
    LINK_STABLE,
    Due,
    deadlines,
    due,
    forgive,
    next_deadline,
    next_timer,
)
from waguard.core.session.facts import Adopted, TimerDue
from waguard.core.session.restart import Retries
from waguard.core.session.state import (
    Care,
    FleetView,
    Found,
    Intent,
    Rules,
    SessionState,
    Slot,
    Stage,
    Worker,
)
from waguard.core.session.takeover import RETRY

LIMITS = Rules().limits
UNRESPONSIVE_DUE = {Due.PAGE_SILENT, Due.UNRESPONSIVE}


def of(it: Worker | None, **fields: Any) -> dict[Due, float]:
    """When what is due."""
    known: dict[str, Any] = {"begun": True, "intent": Intent.UP, **fields}
    state = SessionState(session="s", status=DOWN, worker=it, **known)
    return {due: at for at, due in deadlines(state)}


def of_link(link: Link, care: Care | None = None, **fields: Any) -> dict[Due, float]:
    """Of a page that has been so since 100 s, beside those of its answers."""
    of_worker = {key: fields.pop(key) for key in list(fields) if key in Worker.__struct_fields__}
    it = worker(link=link, link_since=100.0, **of_worker)
    found = of(it, care=care or Care(), **fields)
    return {due: at for due, at in found.items() if due not in UNRESPONSIVE_DUE}


def worker(stage: Stage = Stage.READY, **fields: Any) -> Worker:
    times: dict[str, Any] = dict.fromkeys(
        ("since", "heard_at", "page_at", "link_since", "code_at"), 10.0
    )
    return Worker(**{"number": 1, "stage": stage, **times, **fields})


def found(kind: Kind) -> dict[Kind, Found]:
    return {kind: Found("so it is", 0.0)}


# ---- without a page ----


def test_only_what_is_wanted_and_does_not_ask_for_a_slot_yet_starts_by_time() -> None:
    assert of(None, not_before=7.0) == {Due.START: 7.0}
    assert of(None, not_before=7.0, slot=Slot.REQUESTED) == {}
    assert of(None, not_before=7.0, intent=Intent.DOWN) == {}
    assert of(None, not_before=7.0, intent=Intent.PARKED) == {}


def test_a_process_that_is_being_made_has_none_and_one_that_ends_is_killed() -> None:
    assert of(worker(Stage.SPAWNING)) == {}
    assert of(worker(Stage.ENDING)) == {Due.KILL: 22.0}
    asked = worker(Stage.ENDING, answer_at=11.0)
    assert of(asked) == {Due.ANSWER: 11.0, Due.KILL: 22.0}
    assert of(replace(asked, phase="closing")) == {Due.KILL: 22.0}


def test_a_start_has_its_time_while_the_network_is_there() -> None:
    assert of(worker(Stage.STARTING)) == {Due.START_OVERDUE: 10.0 + LIMITS.start}
    away = FleetView(network_down="it is away")
    assert of(worker(Stage.STARTING), fleet=away) == {}


def test_an_adoption_has_its_time_and_one_of_another_version_waits_for_its_slot() -> None:
    both = {Due.LINK_OVERDUE: 15.0, Due.START_OVERDUE: 10.0 + LIMITS.start}
    assert of(worker(Stage.ADOPTING, adopted=True)) == both
    assert of(worker(Stage.ADOPTING, overdue=True)) == {Due.START_OVERDUE: 10.0 + LIMITS.start}
    assert of(worker(Stage.ADOPTING, outdated=True)) == {Due.LINK_OVERDUE: 15.0}


# ---- unresponsive ----


def test_each_layer_has_its_own_time() -> None:
    found = of(worker(link=Link.CONNECTED, heard_at=20.0, page_at=17.0))
    assert found == {
        Due.PAGE_SILENT: 17.0 + LIMITS.page,
        Due.UNRESPONSIVE: 17.0 + LIMITS.notice,
    }
    said = of(
        worker(link=Link.CONNECTED, unresponsive="the page does not answer", unrecoverable=True)
    )
    assert said == {
        Due.PAGE_SILENT: 10.0 + LIMITS.unrecoverable_page,
        Due.UNRESPONSIVE: 10.0 + LIMITS.notice,
    }, "its worker may fall silent too"


def test_a_late_worker_has_longer_while_many_are_late() -> None:
    late = worker(link=Link.CONNECTED, unresponsive="the worker does not answer", late=True)
    assert of(late)[Due.WORKER_SILENT] == 10.0 + 5.0
    assert of(late, fleet=FleetView(many_late=True))[Due.WORKER_SILENT] == 10.0 + 10.0
    assert Due.UNRESPONSIVE not in of(late)


def test_what_waits_for_the_next_tick_has_no_timer() -> None:
    ready = SessionState(session="s", status=DOWN, worker=worker(), intent=Intent.UP)
    assert next_timer(ready) == NEVER
    ending = SessionState(session="s", status=DOWN, worker=worker(Stage.ENDING))
    assert next_timer(ending) == next_deadline(ending) == 22.0


def test_of_another_version_only_answers_count_and_only_where_a_beat_was_understood() -> None:
    assert of(worker(outdated=True)) == {}
    assert of(worker(outdated=True, page_at=11.0)).keys() == UNRESPONSIVE_DUE


# ---- the link ----


def test_an_unknown_link_has_its_time_and_the_row_a_shorter_one() -> None:
    overdue = {Due.LINK_UNKNOWN: 100.0 + LIMITS.link, Due.LINK_OVERDUE: 130.0}
    assert of_link(Link.UNKNOWN) == overdue
    assert of_link(Link.UNKNOWN, adopted=True)[Due.LINK_OVERDUE] == 105.0
    assert of_link(Link.UNKNOWN, overdue=True) == {Due.LINK_UNKNOWN: 100.0 + LIMITS.link}


def test_a_conflict_is_checked_again_after_it_was_taken_back() -> None:
    assert of_link(Link.CONFLICT) == {}
    taken_back = (5.0, 9.0)
    assert of_link(Link.CONFLICT, takeovers=taken_back) == {Due.CONFLICT: 9.0 + RETRY}
    assert of_link(Link.CONNECTED, takeovers=taken_back) == {}


def test_a_conflict_is_not_checked_before_the_page_has_answered_since_it_was_taken_back() -> None:
    assert of_link(Link.CONFLICT, takeovers=(5.0, 10.0)) == {}, "its page answered at 10.0"


def test_a_code_has_its_time_since_it_was_new() -> None:
    assert of_link(Link.QR_PENDING, code_at=50.0) == {Due.NO_NEW_CODE: 50.0 + LIMITS.code}


@pytest.mark.parametrize(
    "fields", [{"counted": (1.0,)}, {"retries": Retries(1)}, {"spared": 1}], ids=str
)
def test_whoever_is_connected_for_long_is_forgiven_what_there_is(fields: dict[str, Any]) -> None:
    assert of_link(Link.CONNECTED, **fields) == {Due.STABLE: 400.0}
    assert of_link(Link.CONNECTED) == of_link(Link.OFFLINE, refused=True, **fields) == {}


def test_what_was_tried_is_forgotten_by_one_that_is_connected_for_long() -> None:
    care = Care(tried=((Link.OFFLINE, Step.RELOAD),))
    assert of_link(Link.CONNECTED, care) == {Due.LINK_STABLE: 100.0 + LINK_STABLE}


def test_a_newer_version_is_loaded_when_the_last_load_is_long_ago_and_it_may_be_idle() -> None:
    assert of_link(Link.CONNECTED, update_since=200.0) == {Due.UPDATE: 200.0}
    later = Care(reloads=(50.0, 300.0))
    assert of_link(Link.CONNECTED, later, update_since=200.0) == {Due.UPDATE: 300.0 + UPDATE_APART}
    busy = Care(idle_at=250.0)
    assert of_link(Link.CONNECTED, busy, update_since=200.0) == {Due.UPDATE: 250.0}
    advised = Care(reloads=(50.0, 300.0), found=found(Kind.UPDATE_PERSISTS))
    assert of_link(Link.CONNECTED, advised, update_since=200.0) == {}


def test_a_dialog_is_said_once_when_it_stays() -> None:
    assert of_link(Link.CONNECTED, covered_since=200.0) == {Due.COVERED: 200.0 + COVERED_LIMIT}
    said = Care(found=found(Kind.ACTION_REQUIRED))
    assert of_link(Link.CONNECTED, said, covered_since=200.0) == {}


def test_a_passkey_has_its_time_and_one_reload() -> None:
    linking = PasskeyLink(stage=PasskeyStage.OFFERED, until=5_000.0)
    its: dict[str, Any] = {"passkey": linking, "passkey_ends": 200.0}
    over = {Due.PASSKEY_OVER: 200.0 + PASSKEY_GRACE}
    assert of_link(Link.PASSKEY_REQUIRED, **its) == over
    assert of_link(Link.PASSKEY_REQUIRED, Care(passkey_reloaded=4_000.0), **its) == over
    assert of_link(Link.PASSKEY_REQUIRED, Care(passkey_reloaded=5_000.0), **its) == {}
    for stage in WAITING:
        its["passkey"] = PasskeyLink(stage=stage, until=5_000.0)
        assert of_link(Link.PASSKEY_REQUIRED, **its) == {}


# ---- a link that does not move ----


def stuck(care: Care | None = None, **fields: Any) -> float | None:
    return of_link(Link.OFFLINE, care, **fields).get(Due.LINK_STUCK)


def test_a_stuck_link_counts_since_it_began_the_network_came_or_something_was_tried() -> None:
    assert stuck() == 100.0 + OFFLINE_LIMIT
    assert stuck(fleet=FleetView(network_since=150.0)) == 150.0 + OFFLINE_LIMIT
    assert stuck(Care(stepped_at=170.0)) == 170.0 + OFFLINE_LIMIT
    assert stuck(refused=True) is None
    assert stuck(fleet=FleetView(network_down="it is away")) is None


def test_after_the_advice_it_is_tried_again_an_hour_later() -> None:
    advised: dict[str, Any] = {
        "stuck_in": Link.OFFLINE,
        "found": found(Kind.LINK_STUCK),
        "stepped_at": 200.0,
    }
    assert stuck(Care(**advised)) == 200.0 + STUCK_AGAIN
    again = Care(**advised, tried=((Link.OFFLINE, Step.RELOAD),))
    assert stuck(again) == 200.0 + OFFLINE_LIMIT
    elsewhere = Care(**{**advised, "tried": ((Link.SYNCING, Step.RELOAD),)})
    assert stuck(elsewhere) == 200.0 + STUCK_AGAIN
    another = Care(**{**advised, "stuck_in": Link.SYNCING})
    assert stuck(another) == 200.0 + OFFLINE_LIMIT


def test_where_the_network_may_be_away_one_reload_is_tried_and_no_more() -> None:
    unsure = FleetView(network_down="it may be", network_unsure=True, network_since=500.0)
    assert stuck(fleet=unsure) == 100.0 + UNSURE_LIMIT
    assert stuck(Care(stepped_at=150.0), fleet=unsure) == 150.0 + UNSURE_LIMIT
    reloaded = Care(tried=((Link.OFFLINE, Step.RELOAD),))
    assert stuck(reloaded, fleet=unsure) is None


# ---- what has passed ----


def test_the_gravest_comes_first() -> None:
    state = SessionState(session="s", status=DOWN, worker=worker(), intent=Intent.UP)
    assert due(state, 9.0) == []
    assert due(state, 10.0 + LIMITS.notice) == [Due.UNRESPONSIVE]
    late = replace(state, worker=worker(late=True, unresponsive="the worker does not answer"))
    assert due(late, 40.0) == [
        Due.WORKER_SILENT,
        Due.PAGE_SILENT,
        Due.LINK_OVERDUE,
    ]
    assert next_deadline(state) == 10.0 + LIMITS.notice
    assert next_deadline(SessionState(session="s", status=DOWN)) == NEVER


def test_nothing_becomes_unresponsive_while_the_daemon_stands_still() -> None:
    state = SessionState(session="s", status=DOWN, worker=worker(heard_at=95.0, code_at=99.0))
    moved = forgive(state, 4.0, 98.0).worker
    assert moved
    assert (moved.since, moved.page_at, moved.link_since) == (14.0, 14.0, 14.0)
    assert (moved.heard_at, moved.code_at) == (98.0, 98.0), "nothing is heard in the future"
    alone = SessionState(session="s", status=DOWN)
    assert forgive(alone, 4.0, 98.0) is alone


def test_a_timer_that_is_late_ends_nothing() -> None:
    bench = EngineBench("s")
    bench.start("s")
    bench.at += 100.0
    bench.post("s", TimerDue(late=99.5))
    assert bench.worker("s").heard_at == bench.at - 0.5
    bench.tick()
    assert bench.link("s") is Link.CONNECTED


def test_an_old_worker_waits_for_its_slot_as_long_as_it_takes() -> None:
    bench = EngineBench()
    for name in ("a", "b"):
        bench.add(name, rules=Rules(limits=type(LIMITS)(start=1e6)))
    bench.script = Script(reports=(LOADING,))
    bench.start("a", "b")
    bench.add("s")
    bench.post("s", Adopted(outdated=True))
    bench.pass_time(LIMITS.start * 2)
    assert bench.worker("s").number == 1


def test_the_next_one_waits_until_one_that_is_upgraded_is_up() -> None:
    bench = EngineBench()
    bench.add("s")
    bench.script = Script(reports=(LOADING,))
    bench.post("s", Adopted(outdated=True))
    assert bench.worker("s").number == 2
    bench.report("s", Link.UNKNOWN, phase="settling")
    assert bench.state("s").slot is Slot.HELD
    bench.report("s", Link.CONNECTED)
    assert bench.state("s").slot is Slot.FREE
    assert not bench.state("s").upgrading
