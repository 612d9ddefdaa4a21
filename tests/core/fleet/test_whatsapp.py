"""WhatsApp does not serve its page: one session tries for all at growing intervals, and the others wait."""

import itertools
from typing import Any

import pytest

from tests.core.engine_bench import LOADING, EngineBench, Script
from waguard.core.blame import Blame
from waguard.core.exits import EXIT_BROWSER_GONE, EXIT_EXPORTS_MISSING
from waguard.core.fleet.breaker import FleetPolicy
from waguard.core.fleet.facts import Closing, FleetRules, Measured
from waguard.core.fleet.whatsapp import RELEASE_APART, RELEASE_LIMIT
from waguard.core.host.admission import Cause
from waguard.core.incidents.folding import fleet_condition
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.replace import replace
from waguard.core.session import worker as workers
from waguard.core.session.effects import Reload
from waguard.core.session.facts import Adopted, RestartRequested, StartRequested, StopRequested
from waguard.core.session.page_load import LONGEST_PAUSE, MOST
from waguard.core.session.state import Replacement, Slot

KIND = "whatsapp_refuses"
WHY = "WhatsApp answers with HTTP status 500"
REFUSED: dict[str, Any] = {"link": Link.OFFLINE, "refused": True, "refusals": 1, "details": WHY}
NAMES = ("a", "b", "c", "d", "e")


class Bench(EngineBench):
    """A reload is answered a second later, by ``served``."""

    def __init__(self, *names: str, jitter: float = 0.0, **given: Any) -> None:
        super().__init__(*names, **given)
        self.chance = jitter
        self.served: set[str] = set()
        self.retry_after = 0.0
        self.asked: list[tuple[float, str]] = []
        """When each page was reloaded."""
        self.began = self.at

    def live(self, seconds: float) -> None:
        """Let time pass."""
        end = self.at + seconds
        while self.at < end:
            before = len(self.done)
            self.pass_time(1.0)
            for name, effect in self.done[before:]:
                if isinstance(effect, Reload):
                    self.asked.append((self.at - self.began, name))
                    self.answer(name)

    def answer(self, name: str) -> None:
        """What WhatsApp answers now."""
        if name in self.served:
            self.report(name, Link.CONNECTED)
        else:
            self.refuse(name)

    def refuse(self, *names: str) -> None:
        """Once more."""
        for name in names:
            count = self.worker(name).refusals + 1
            said = {**REFUSED, "refusals": count, "retry_after": self.retry_after}
            self.report(name, **said)

    def begin(self) -> None:
        """From now on it is counted."""
        self.began = self.at
        self.asked.clear()


def refused(*names: str, **given: Any) -> Bench:
    """All are up, and WhatsApp refuses their pages at this moment."""
    bench = Bench(*names, **given)
    bench.start(*names)
    bench.live(5.0)
    bench.refuse(*names)
    bench.begin()
    return bench


def pauses(bench: Bench) -> list[float]:
    return [b - a for (a, _), (b, _) in itertools.pairwise([(0.0, ""), *bench.asked])]


def test_one_asks_for_all_ever_more_rarely_and_its_turn_rotates() -> None:
    bench = refused(*NAMES)
    bench.live(4_000.0)
    assert [name for _, name in bench.asked] == ["a", "b", "c", "d", "e", "a", "b"]
    expected = (60.0, 120.0, 240.0, 480.0, 900.0, 900.0, 900.0)
    assert pauses(bench) == pytest.approx(expected, abs=2.0)
    assert bench.outages(KIND) == [WHY]
    assert bench.state("a").restarts == 0


def test_jitter_makes_a_pause_up_to_a_half_longer() -> None:
    bench = refused("a", jitter=0.99)
    bench.live(10_000.0)
    assert pauses(bench)[0] == pytest.approx(90.0, abs=2.0)
    assert max(pauses(bench)) == pytest.approx(1.5 * LONGEST_PAUSE, rel=0.01)


def test_one_single_session_is_asked_for_ever() -> None:
    bench = refused("a")
    bench.live(40_000.0)
    assert len(bench.asked) > 40
    assert max(pauses(bench)) <= LONGEST_PAUSE + 2.0


def test_the_canarys_success_lets_the_others_ask_a_few_at_a_time() -> None:
    bench = refused(*NAMES)
    bench.served = set(NAMES)
    bench.live(60.0 + 3 * RELEASE_APART)
    (first, canary), *others = bench.asked
    assert canary == "a"
    assert [name for _, name in others] == ["b", "c", "d", "e"]
    times = [at - first for at, _ in others]
    assert times == pytest.approx([5.0, 5.0, 10.0, 10.0], abs=2.0)
    assert bench.outages(KIND) == [WHY, None]
    assert all(bench.link(name) is Link.CONNECTED for name in NAMES)


def test_retry_after_of_any_is_honoured() -> None:
    bench = refused("a", "b")
    bench.retry_after = 1_000.0
    bench.refuse("b")
    bench.retry_after = 0.0
    bench.refuse("a")
    bench.live(1_010.0)
    assert [at for at, _ in bench.asked] == pytest.approx([1_000.0], abs=2.0)


def test_retry_after_that_is_said_again_counts_again() -> None:
    bench = refused("a")
    bench.retry_after = 300.0
    bench.refuse("a")
    bench.live(1_000.0)
    assert pauses(bench) == pytest.approx([300.0] * 3, abs=3.0)


def test_retry_after_is_bounded() -> None:
    bench = refused("a")
    bench.retry_after = 1e9
    bench.refuse("a")
    bench.live(MOST + 10.0)
    assert [at for at, _ in bench.asked] == pytest.approx([MOST], abs=2.0)


def test_an_unhealthy_canary_does_not_keep_the_others_down() -> None:
    bench = refused(*NAMES)
    bench.served = set(NAMES) - {"a"}
    bench.live(230.0)
    assert [name for _, name in bench.asked[:2]] == ["a", "b"]
    assert [name for name in NAMES if bench.link(name) is not Link.CONNECTED] == ["a"]
    assert bench.outages(KIND) == [WHY, None]


def test_who_is_refused_while_others_are_served_holds_nobody_up() -> None:
    bench = refused(*NAMES)
    bench.served = set(NAMES) - {"a"}
    bench.live(300.0)
    bench.exit("c", EXIT_BROWSER_GONE)
    bench.live(60.0)
    assert bench.link("c") is Link.CONNECTED
    bench.begin()
    bench.live(10_000.0)
    assert {name for _, name in bench.asked} == {"a"}
    assert bench.outages(KIND) == [WHY, None]
    bench.served.add("a")
    bench.live(LONGEST_PAUSE + 2.0)
    assert bench.link("a") is Link.CONNECTED


def test_a_false_dawn_ends_after_three_refusals() -> None:
    bench = refused(*map(str, range(20)), jitter=0.0)
    bench.served = {"0"}
    bench.live(61.0)
    assert bench.outages(KIND) == [WHY, None]
    bench.served = set()
    bench.begin()
    bench.live(100.0)
    assert 3 <= len(bench.asked) <= 4  # two at a time
    assert bench.outages(KIND) == [WHY, None, WHY]


def test_what_whatsapp_refuses_again_begins_at_the_first_pause() -> None:
    bench = refused("a", "b")
    bench.live(2_000.0)
    bench.served = {"a", "b"}
    bench.live(2_000.0)
    assert all(bench.link(name) is Link.CONNECTED for name in "ab")
    bench.served = set()
    bench.refuse("a", "b")
    bench.begin()
    bench.live(65.0)
    assert [at for at, _ in bench.asked] == pytest.approx([60.0], abs=2.0)


def test_a_refusal_of_others_begins_at_the_first_pause_whatever_that_of_one_has_come_to() -> None:
    bench = refused(*NAMES)
    bench.served = set(NAMES) - {"a"}
    bench.live(5_000.0)
    assert bench.fleet.whatsapp.tries > 2, "the pauses of the one are long by now"
    bench.exit("c", EXIT_EXPORTS_MISSING)
    bench.live(200.0)  # the one that was refused before has its turn first
    assert bench.link("c") is Link.CONNECTED


def waiting_starts(*names: str) -> Bench:
    """WhatsApp refuses the page of ``a``, and starts wait for it."""
    bench = refused("a")
    for name in names:
        bench.add(name)
        bench.scripts[name] = Script(held=True)
    bench.start(*names, asked=False)
    return bench


def run_next(bench: Bench, *refused: str) -> None:
    """Who has a slot gets its answer."""
    for name in sorted(bench.fleet.starting):
        bench.scripts[name] = Script(reports=(REFUSED,)) if name in refused else Script()
        bench.runs(name)


def test_a_start_that_is_refused_while_others_are_served_closes_no_others() -> None:
    starts = [f"n{number}" for number in range(8)]
    bench = waiting_starts(*starts)
    bench.served = {"a"}
    bench.live(62.0)  # one of the starts or the page is served
    for _ in range(20):
        run_next(bench, "n5")
        bench.live(2.0)
    assert [name for name in ("a", *starts) if bench.link(name) is not Link.CONNECTED] == ["n5"]
    assert bench.outages(KIND) in ([], [WHY, None])


def test_so_it_is_for_ten_minutes_at_most() -> None:
    bench = waiting_starts("f", "g", "h", "i")
    bench.served = {"a"}
    bench.live(62.0)
    run_next(bench)  # and the next two never get an answer
    release = bench.fleet.whatsapp.release
    assert release
    bench.live(RELEASE_LIMIT - 10.0)
    assert bench.fleet.whatsapp.release
    bench.live(20.0)
    assert bench.fleet.whatsapp.release is None


def test_starts_that_nobody_asked_for_wait_and_a_persons_start_goes() -> None:
    bench = refused("a", "b")
    for name in ("f", "g"):
        bench.add(name)
    bench.script = Script(reports=(REFUSED,))
    bench.start("f", asked=False)
    bench.start("g")
    bench.live(10.0)
    assert bench.waits("f") is Cause.WHATSAPP
    assert bench.lifecycle("g") is State.RUNNING
    assert bench.spawned == ["a", "b", "g"]


def test_the_second_opinion_on_one_refused_session_is_a_start_that_waits() -> None:
    bench = Bench("a", "b")
    bench.start("a", "b")
    bench.refuse("a")
    bench.live(2_000.0)  # its pauses are long by now
    bench.exit("b", EXIT_BROWSER_GONE)
    bench.live(90.0)
    assert bench.link("b") is Link.CONNECTED


def test_three_starts_are_tried_before_their_turn_and_then_all_take_turns() -> None:
    bench = refused("a", "b")
    names = [f"n{number}" for number in range(8)]
    for name in names:
        bench.add(name)
    bench.script = Script(reports=(REFUSED,))
    bench.start(*names, asked=False)
    bench.live(900.0)
    assert bench.spawned[2:] == ["n0", "n1", "n2"]
    tried = len(bench.asked)
    bench.live(4_000.0)
    assert len(bench.asked) > tried


def test_one_that_is_refused_while_others_are_connected_is_no_outage_of_all() -> None:
    bench = Bench("a", "b", "c")
    bench.start("a", "b", "c")
    bench.refuse("a")
    bench.live(2_000.0)
    assert bench.outages(KIND) == []
    bench.refuse("b")
    assert bench.outages(KIND) == [WHY]


def test_a_start_is_the_canary_when_nobody_with_a_refused_page_is_left() -> None:
    bench = refused("a")
    bench.add("f")
    bench.script = Script(reports=(REFUSED,))
    bench.start("f", asked=False)
    bench.post("a", StopRequested())
    assert bench.waits("f") is Cause.WHATSAPP
    bench.live(58.0)
    assert bench.spawned == ["a"]
    bench.live(4.0)
    assert bench.spawned == ["a", "f"]
    assert bench.lifecycle("f") is State.RUNNING


def test_a_start_that_spent_its_restarts_does_not_wait_for_ever() -> None:
    bench = refused("a", "b")
    for _ in range(8):
        if bench.state("b").retries.at is not None:
            break
        bench.exit("b", EXIT_BROWSER_GONE)
        bench.post("a", StartRequested(restart=True))
        bench.live(1.0)
        bench.script = Script(exits=EXIT_BROWSER_GONE)
        bench.live(3_000.0)
    assert bench.state("b").retries.at is not None
    bench.post("a", StopRequested())
    bench.script = Script()
    bench.live(4_500.0)
    assert bench.link("b") is Link.CONNECTED


def test_a_refusal_is_over_where_nobody_waits_for_a_page() -> None:
    bench = refused("a", "b")
    for name in "ab":
        bench.post(name, StopRequested())
    assert bench.outages(KIND) == [WHY, None]
    bench.live(2_000.0)
    assert bench.asked == []


def test_a_network_that_is_lost_is_no_service() -> None:
    bench = refused("a", "b", "c")
    bench.report("a", Link.OFFLINE, details="net::ERR_INTERNET_DISCONNECTED")
    assert bench.outages(KIND) == [WHY]
    bench.report("a", Link.SYNCING)  # its page came after all
    assert bench.outages(KIND) == [WHY, None]


@pytest.mark.parametrize(
    "news",
    [
        RestartRequested(why="a newer Chromium"),
        Measured(memory=500 << 20, idle=300.0),
    ],
    ids=["planned", "too big"],
)
def test_no_connected_session_is_replaced_while_no_page_is_served(
    news: RestartRequested | Measured,
) -> None:
    bench = Bench("a", "b", rules=FleetRules(memory_limit=400 << 20))
    bench.start("a", "b")
    bench.refuse("b")
    bench.post("a", news)
    bench.live(20.0)
    assert (bench.spawned, bench.link("a")) == (["a", "b"], Link.CONNECTED)
    bench.report("b", Link.CONNECTED)
    if isinstance(news, Measured):  # the other one waits for its turn
        bench.post("a", news)
    bench.live(1.0)
    assert bench.spawned == ["a", "b", "a"]


@pytest.mark.parametrize("served", [True, False])
def test_where_one_alone_is_refused_one_replacement_is_the_second_opinion(*, served: bool) -> None:
    """Its cause may be its own, and would keep all others on an old version."""
    bench = Bench("a", "b", "c")
    bench.start("a", "b", "c")
    bench.refuse("b")
    for name in ("a", "c"):
        bench.post(name, RestartRequested(why="a newer Chromium"))
    bench.live(50.0)
    assert bench.spawned == ["a", "b", "c"]
    bench.script = Script() if served else Script(reports=(REFUSED,))
    bench.live(3_000.0)
    assert bench.spawned[3:] == (["a", "c"] if served else ["a"])
    assert bench.outages(KIND) == ([] if served else [WHY])
    assert bench.link("c") is Link.CONNECTED


def test_neither_is_one_whose_worker_is_of_an_earlier_daemon() -> None:
    bench = refused("b")
    bench.add("a")
    bench.post("a", Adopted(outdated=True))
    bench.report("a")
    bench.live(20.0)
    assert (bench.waits("a"), bench.spawned) == (Cause.WHATSAPP, ["b"])
    bench.post("b", StopRequested())  # nobody who asks for all is left
    bench.live(1.0)
    assert bench.spawned == ["b", "a"]


@pytest.mark.parametrize("before", [None, RestartRequested(why="a newer Chromium")])
@pytest.mark.parametrize(
    "news",
    [RestartRequested(why="a trial", urgent=True), Measured(memory=900 << 20, idle=300.0)],
    ids=["another version", "far too big"],
)
def test_what_is_urgent_is_replaced_while_no_page_is_served(
    news: RestartRequested | Measured, before: RestartRequested | None
) -> None:
    """Another version may be the cure, and the host comes before one session. Also where a replacement waits already."""
    bench = Bench("a", "b", rules=FleetRules(memory_limit=400 << 20))
    bench.start("a", "b")
    bench.refuse("b")
    if before:
        bench.post("a", before)
        bench.live(2.0)
    bench.post("a", news)
    assert bench.spawned == ["a", "b", "a"]


def test_a_restart_that_a_person_requested_is_not_made_less_urgent() -> None:
    bench = Bench("a")
    bench.start("a")
    waits = replace(bench.state("a"), slot=Slot.REQUESTED, replacement=Replacement(None))
    assert workers.with_replacement(waits, RestartRequested(why="its memory", urgent=True)) is waits


def test_what_waits_for_a_stuck_link_is_no_reason_to_forget_another_restart() -> None:
    """The link may move, and nothing is replaced for it then."""
    bench = Bench("a")
    bench.start("a")
    stuck = Replacement("stuck", stuck=Link.SYNCING)
    waits = replace(bench.state("a"), slot=Slot.REQUESTED, replacement=stuck)
    for urgent in (False, True):
        asked = RestartRequested(why="another proxy", urgent=urgent)
        after = workers.with_replacement(waits, asked)
        assert after.replacement == Replacement("another proxy", urgent=urgent)
        assert after.slot is Slot.REQUESTED


def test_a_version_that_wajs_does_not_know_is_met_by_one_at_a_time() -> None:
    bench = Bench(*NAMES)
    bench.start(*NAMES)
    bench.script = Script(exits=EXIT_EXPORTS_MISSING)
    for name in NAMES:
        bench.exit(name, EXIT_EXPORTS_MISSING)
    spawned = len(bench.spawned)
    bench.live(3_600.0)
    starts = len(bench.spawned) - spawned
    assert 4 <= starts <= 8
    assert bench.state("a").counted == ()
    bench.script = Script()
    bench.live(3_600.0)
    assert all(bench.link(name) is Link.CONNECTED for name in NAMES)


def test_one_start_asks_while_the_breaker_is_open_too() -> None:
    rules = FleetRules(breaker=FleetPolicy(minimum=3))
    bench = Bench(*NAMES, rules=rules)
    bench.start(*NAMES)
    bench.script = Script(reports=(LOADING,))
    for name in ("c", "d", "e"):
        bench.exit(name, EXIT_BROWSER_GONE)
    assert bench.fleet.breaker.opening
    bench.exit("c", EXIT_BROWSER_GONE)
    bench.exit("d", EXIT_BROWSER_GONE)
    bench.refuse("a", "b")
    bench.begin()
    before = len(bench.spawned)
    bench.live(100.0)
    assert (len(bench.spawned) - before, bench.asked) == (1, [])
    bench.script = Script()
    bench.served = set(NAMES)
    bench.live(900.0)
    assert all(bench.link(name) is Link.CONNECTED for name in NAMES)


def test_who_is_forgotten_or_gone_is_not_asked() -> None:
    bench = refused("a", "b", "c")
    bench.post("a", StopRequested())
    bench.forget("a")
    bench.exit("b", EXIT_BROWSER_GONE)
    bench.script = Script(reports=(REFUSED,))
    bench.live(2_000.0)
    assert "a" not in {name for _, name in bench.asked}
    assert "c" in {name for _, name in bench.asked}


def test_who_stops_before_the_answer_asks_no_more() -> None:
    bench = refused("a", "b")
    bench.pass_time(61.0)
    [asking] = bench.fleet.whatsapp.asking
    assert bench.reloads(asking) == 1
    bench.script = Script(obeys=False)
    bench.post(asking, StopRequested())
    assert bench.lifecycle(asking) is State.STOPPING
    assert asking not in bench.fleet.whatsapp.asking


def test_who_is_served_asks_no_more() -> None:
    bench = refused("a", "b")
    bench.pass_time(61.0)
    [asking] = bench.fleet.whatsapp.asking
    bench.report(asking, Link.UNKNOWN)
    assert asking in bench.fleet.whatsapp.asking, "that says nothing yet"
    bench.report(asking, Link.CONNECTED)
    assert asking not in bench.fleet.whatsapp.asking


def test_a_daemon_that_stops_asks_nobody() -> None:
    bench = refused("a", "b")
    bench.post("", Closing())
    bench.live(2_000.0)
    assert bench.asked == []


def test_a_refusal_is_shown_as_whatsapps() -> None:
    assert fleet_condition(KIND, WHY, since=0.0).blame is Blame.WHATSAPP
