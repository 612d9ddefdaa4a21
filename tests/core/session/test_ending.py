"""A worker whose end was requested: whoever closes has its time, whoever does not answer is killed."""

import pytest

from tests.core.engine_bench import EngineBench, Script
from tests.core.session.one_session import ROW, beat, ending
from waguard.core.link import Link
from waguard.core.session.deadlines import next_deadline
from waguard.core.session.effects import CheckAnswer, Kill, Spawn, Terminate
from waguard.core.session.facts import (
    Adopted,
    RestartRequested,
    Stopped,
    StopRequested,
    TimerDue,
    Unanswered,
)
from waguard.core.session.probe import Limits
from waguard.core.session.state import Rules, Stage

LIMITS, RULES = Limits(), Rules()
STUBBORN = Script(obeys=False, dies=False)
RESTS = Unanswered(worker=1, rests=True)
WAITS = Unanswered(worker=1, rests=False)
"""It waits for a core or a disk."""


@pytest.fixture
def ends(bench: EngineBench) -> EngineBench:
    """It works, and was asked to end a moment ago."""
    ending(bench)
    bench.script = STUBBORN
    return bench


def passes(bench: EngineBench, seconds: float) -> None:
    bench.at += seconds
    bench.tick()


def kills(bench: EngineBench) -> int:
    return len(bench.effects("s", Kill))


def checks(bench: EngineBench) -> int:
    return len(bench.effects("s", CheckAnswer))


def test_one_that_does_not_answer_is_checked_after_a_second(ends: EngineBench) -> None:
    assert next_deadline(ends.state("s")) == ends.at + RULES.answer
    passes(ends, RULES.answer - 0.01)
    assert checks(ends) == 0
    passes(ends, 0.01)
    assert (checks(ends), kills(ends)) == (1, 0)
    assert next_deadline(ends.state("s")) == ends.at - RULES.answer + RULES.stop_grace


@pytest.mark.parametrize(
    ("fact", "killed"),
    [
        (RESTS, True),
        (WAITS, False),
        (Unanswered(worker=1, rests=False, ran=0.99), False),
        (Unanswered(worker=1, rests=False, ran=1.0), True),
        (Stopped(worker=1), True),
    ],
    ids=["rests", "waits", "runs", "ran long enough", "stands still"],
)
@pytest.mark.parametrize("closing", [False, True])
def test_it_is_killed_where_it_could_have_answered(
    ends: EngineBench, fact: Unanswered | Stopped, *, killed: bool, closing: bool
) -> None:
    """Whoever said that it closes is left alone: its browser writes the profile."""
    if closing:
        ends.report("s", Link.UNKNOWN, phase="closing")
    passes(ends, RULES.answer)
    ends.post("s", fact)
    assert kills(ends) == (killed and not closing)


def test_one_that_waits_for_a_core_is_checked_each_second_until_its_grace_is_over(
    ends: EngineBench,
) -> None:
    for count in range(1, 12):
        passes(ends, RULES.answer)
        assert (checks(ends), kills(ends)) == (count, 0)
        ends.post("s", WAITS)
    passes(ends, RULES.answer)
    assert kills(ends) == 1


def test_one_that_closes_has_its_whole_grace_and_no_more(ends: EngineBench) -> None:
    ends.report("s", Link.UNKNOWN, phase="closing")
    passes(ends, RULES.stop_grace - 0.01)
    assert (checks(ends), kills(ends)) == (0, 0)
    passes(ends, 0.01)
    assert kills(ends) == 1


def test_one_that_answers_late_has_the_rest_of_its_grace(ends: EngineBench) -> None:
    passes(ends, 3 * RULES.answer)
    ends.report("s", Link.UNKNOWN, phase="closing")
    ends.post("s", RESTS)
    passes(ends, RULES.stop_grace - 3 * RULES.answer - 0.01)
    assert kills(ends) == 0


def test_one_whose_answer_cannot_be_heard_has_its_whole_grace(ends: EngineBench) -> None:
    """Nothing follows on the check where the daemon has no line to it."""
    passes(ends, RULES.answer)
    passes(ends, RULES.stop_grace - RULES.answer - 0.01)
    assert (checks(ends), kills(ends)) == (1, 0)


def test_one_that_dies_while_it_closes_has_ended(ends: EngineBench) -> None:
    ends.report("s", Link.UNKNOWN, phase="closing")
    ends.exit("s", -9)
    assert ends.state("s").worker is None
    assert kills(ends) == 0
    ends.post("s", RESTS)
    assert ends.state("s").worker is None


def test_a_daemon_that_stood_still_heard_no_answer(ends: EngineBench) -> None:
    ends.at += 60.0
    ends.post("s", TimerDue(late=60.0))
    assert (checks(ends), kills(ends)) == (0, 0)
    passes(ends, RULES.answer)
    assert checks(ends) == 1


@pytest.mark.parametrize("outdated", [True, False], ids=["older", "not heard yet"])
def test_one_of_whom_no_answer_is_known_has_its_whole_grace(*, outdated: bool) -> None:
    bench = EngineBench()
    bench.add("s", status=ROW)
    bench.script = STUBBORN
    bench.post("s", Adopted(outdated=outdated))
    if outdated:
        bench.report("s")
    bench.post("s", StopRequested())
    assert bench.worker("s").stage is Stage.ENDING
    passes(bench, RULES.stop_grace - 0.01)
    assert (checks(bench), kills(bench)) == (0, 0)
    passes(bench, 0.01)
    assert kills(bench) == 1


def test_one_that_is_silent_is_killed_at_once(bench: EngineBench) -> None:
    bench.script = STUBBORN
    bench.hear_nobody(LIMITS.worker)
    assert [it.why.reason for it in bench.effects("s", Terminate) if it.why] == ["worker_silent"]
    assert (checks(bench), kills(bench)) == (1, 0), "it may only wait for a core"
    bench.post("s", RESTS)
    assert kills(bench) == 1


def test_one_that_is_silent_because_it_closes_has_its_grace(bench: EngineBench) -> None:
    """Whoever closes sends no heartbeats."""
    bench.report("s", Link.UNKNOWN, phase="closing")
    bench.script = STUBBORN
    bench.hear_nobody(LIMITS.worker)
    assert not bench.effects("s", Terminate)
    passes(bench, LIMITS.worker_of_many - LIMITS.worker)
    assert len(bench.effects("s", Terminate)) == 1
    passes(bench, RULES.stop_grace - 0.01)
    assert kills(bench) == 0


def test_one_whose_page_is_silent_may_close(bench: EngineBench) -> None:
    bench.script = STUBBORN
    for _ in range(int(LIMITS.page)):
        bench.at += 1.0
        beat(bench, page=False)
        bench.tick()
    assert [it.why.reason for it in bench.effects("s", Terminate) if it.why] == ["page_silent"]
    assert kills(bench) == 0


def test_a_planned_replacement_that_is_killed_costs_nothing(bench: EngineBench) -> None:
    bench.script = Script(obeys=False)
    bench.post("s", RestartRequested(why="the memory it uses"))
    bench.script = Script()
    passes(bench, RULES.answer)
    bench.post("s", RESTS)
    assert bench.effects("s", Spawn) == [Spawn(1), Spawn(2)]
    assert (bench.state("s").counted, bench.state("s").restarts) == ((), 0)
