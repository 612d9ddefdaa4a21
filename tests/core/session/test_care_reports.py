"""A dialog over the page, what is noticed, and what else a report says of the page."""

from tests.core.engine_bench import CONNECTED, WALL, EngineBench, Script
from tests.core.session.one_session import AWAY, GHOST, ending, kinds, said, workers
from waguard.core.backoff import NEVER
from waguard.core.fleet.network import Reading
from waguard.core.link import Link
from waguard.core.page_care import (
    COVERED_LIMIT,
    FLOOD_LIMIT,
    OFFLINE_LIMIT,
    UNSURE_LIMIT,
    UPDATE_FORGOTTEN,
    Kind,
    Step,
)
from waguard.core.recycle import IDLE
from waguard.core.row_status import ParkCause
from waguard.core.session.deadlines import next_deadline
from waguard.core.session.effects import ReadIdle, RefusalChanged, TakeScreenshot
from waguard.core.session.facts import (
    IdleRead,
    Noticed,
    ReloadRequested,
    RestartRequested,
    StopRequested,
)
from waguard.core.session.probe import Limits
from waguard.core.session.state import Replacement, Rules
from waguard.core.session.views import parked_for

# ---- a dialog, and what the message plane notices ----


def test_a_dialog_over_the_page_is_reported_when_it_stays(bench: EngineBench) -> None:
    said(bench, Link.CONNECTED, covered=True)
    bench.pass_time(COVERED_LIMIT - 1)
    assert kinds(bench) == []
    assert bench.effects("s", TakeScreenshot) == []
    bench.pass_time(1)
    assert kinds(bench) == [Kind.ACTION_REQUIRED]
    assert bench.effects("s", TakeScreenshot) == [TakeScreenshot(1)], "people see which dialog"
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


def test_a_refusal_without_words_is_one(bench: EngineBench) -> None:
    said(bench, Link.UNKNOWN, refused=True)
    assert kinds(bench) == [Kind.WHATSAPP_REFUSES]


def test_one_that_is_on_its_way_out_says_nothing_of_whatsapp_any_more(bench: EngineBench) -> None:
    ending(bench)
    said(bench, Link.UNKNOWN, refused=True, details="HTTP status 503")
    assert refusals(bench) == []


def test_only_a_page_that_was_refused_is_loaded_when_it_is_its_turn(bench: EngineBench) -> None:
    turn = ReloadRequested(why="it is its turn")
    bench.post("s", turn)
    assert bench.reloads("s") == 0
    said(bench, Link.UNKNOWN, refused=True, details="HTTP status 503")
    ending(bench)
    bench.post("s", turn)
    assert bench.reloads("s") == 0


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


# ---- a page that reports more than it may ----


def test_a_flood_is_a_condition_and_where_it_goes_on_the_session_is_parked(
    bench: EngineBench,
) -> None:
    said(bench, Link.CONNECTED, flooded=True)
    assert kinds(bench) == [Kind.PAGE_FLOODS]
    bench.pass_time(FLOOD_LIMIT - 1)
    assert (kinds(bench), parked_for(bench.state("s"))) == ([Kind.PAGE_FLOODS], None)
    bench.pass_time(1)
    assert parked_for(bench.state("s")) is ParkCause.PAGE_FLOODS
    assert (kinds(bench), bench.state("s").worker) == ([], None)
    bench.pass_time(86_400)
    assert bench.state("s").worker is None, "a person decides"


def test_a_flood_that_ends_in_time_parks_nothing(bench: EngineBench) -> None:
    said(bench, Link.CONNECTED, flooded=True)
    bench.pass_time(FLOOD_LIMIT - 1)
    said(bench, Link.CONNECTED)
    assert kinds(bench) == []
    bench.pass_time(FLOOD_LIMIT)
    assert parked_for(bench.state("s")) is None


def test_whatever_the_link_is_a_flood_parks(bench: EngineBench) -> None:
    said(bench, Link.OFFLINE, flooded=True)
    bench.pass_time(FLOOD_LIMIT)
    assert parked_for(bench.state("s")) is ParkCause.PAGE_FLOODS
