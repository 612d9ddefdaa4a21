"""What operators see of the versions."""

import pytest

from tests.core.version_bench import (
    MISSING,
    NEW,
    NEWER,
    OLD,
    OTHER,
    RULES,
    WAJS,
    VersionBench,
    crossed,
    rolled_back,
)
from tests.core.versions.test_bundles import candidate, fails
from waguard.core.blame import Blame
from waguard.core.replace import replace
from waguard.core.versions.facts import (
    Captured,
    Discarded,
    Evidence,
    Pin,
    Refused,
    RulesChanged,
    Spent,
    Unpin,
)
from waguard.core.versions.state import Loss
from waguard.core.versions.views import (
    CONDITIONS,
    EVIDENCE,
    VersionRow,
    VersionStatus,
    conditions,
    rows,
)


def row(bench: VersionBench, revision: int) -> VersionRow:
    [found] = [it for it in rows(bench.state) if it.revision == revision]
    return found


def status(bench: VersionBench, revision: int) -> VersionStatus:
    return row(bench, revision).status


def test_the_newest_version_comes_first_with_who_has_it() -> None:
    bench = VersionBench("b", "a")
    bench.prove()
    bench.release(NEW, "b")
    new, old = rows(bench.state)
    assert (new.revision, new.status, new.sessions) == (NEW, VersionStatus.LATEST, ("b",))
    assert (new.latest, new.served, new.stored, new.wajs) == (True, True, True, (WAJS,))
    assert (old.status, old.sessions, old.latest, old.served) == (
        VersionStatus.GOOD,
        ("a",),
        False,
        False,
    )


def test_a_version_that_is_held_back_says_why() -> None:
    bench = rolled_back()
    it = row(bench, NEW)
    assert (it.status, it.latest, it.served) == (VersionStatus.HELD, True, False)
    assert it.why == (
        "4 sessions were unhealthy with versions from 200 on: WhatsApp acknowledges nothing that it sends"
    )
    assert row(bench, OLD).served


def test_while_it_is_tried_it_is_suspected_and_so_it_is_once_confirmed() -> None:
    bench = VersionBench("a", "b", "c")
    bench.unhealthy_with_new("a", evidence=MISSING)
    words = "session a: wa-js lacks functions that waguard calls"
    assert (status(bench, NEW), row(bench, NEW).why) == (VersionStatus.SUSPECTED, words)
    crossed(bench)
    assert bench.state.trial is None
    assert (status(bench, NEW), row(bench, NEW).why) == (VersionStatus.SUSPECTED, words)


def test_what_a_canary_has_is_a_canarys() -> None:
    bench = rolled_back()
    for name in "abcd":
        bench.load(name, well=True)
    bench.pass_time(RULES.canary_after)
    trial = bench.state.trial
    assert trial
    bench.load(trial.session)
    assert (status(bench, NEW), row(bench, NEW).why) == (
        VersionStatus.CANARY,
        f"session {trial.session} tries it",
    )


def test_pinned_refused_spent_and_replaced_ones_are_named_so() -> None:
    bench = VersionBench("a", "b")
    bench.prove()
    bench.release(NEW, "a")
    bench.release(NEWER, "a")
    bench.post(Pin(OLD))
    assert status(bench, OLD) is VersionStatus.PINNED
    assert status(bench, NEW) is VersionStatus.UNPROVEN
    bench.post(Spent(NEW))
    assert status(bench, NEW) is VersionStatus.SPENT
    bench.post(Refused(OLD))
    assert status(bench, OLD) is VersionStatus.REFUSED


def test_what_nobody_has_and_nobody_stores_is_not_listed() -> None:
    bench = VersionBench("a")
    bench.post(Captured(1))
    bench.post(Discarded(1))
    assert [it.revision for it in rows(bench.state)] == [OLD]


def test_each_evidence_has_words() -> None:
    assert set(EVIDENCE) == set(Evidence)


# ---- conditions ----


def test_without_trouble_there_is_no_condition() -> None:
    assert conditions(VersionBench("a").state) == []


def test_what_is_held_back_is_a_condition_that_says_what_all_get() -> None:
    bench = rolled_back()
    [it] = conditions(bench.state)
    assert (it.type, it.blame, it.reason) == ("version_held", Blame.WHATSAPP, "version_held")
    assert it.message.endswith("acknowledges nothing that it sends; all sessions get version 100")
    assert it.since == bench.now
    bench.post(Pin(NEW))
    assert conditions(bench.state)[0].message.endswith("version 200, which an operator pinned")
    bench.post(RulesChanged(replace(RULES, mode="off")))
    assert conditions(bench.state) == []


def test_nothing_older_than_what_is_held_back_is_a_reason_of_its_own() -> None:
    bench = rolled_back()
    bench.post(Spent(OLD))
    [it] = conditions(bench.state)
    assert it.reason == "nothing_older"
    assert it.message.endswith("so sessions get the newest all the same")


def test_a_refused_newest_version_is_a_condition_until_there_is_a_newer_one() -> None:
    bench = VersionBench("a")
    bench.post(Refused(OLD))
    assert [it.reason for it in conditions(bench.state)] == ["newest_refused"]
    bench.release(NEW, "a")
    assert conditions(bench.state) == []


def test_a_bundle_that_was_rolled_back_is_a_condition() -> None:
    bench = candidate("a")
    fails(bench)
    [it] = conditions(bench.state)
    assert it.message == f"wa-js {OTHER[:12]} broke sessions; all get {WAJS[:12]}"


def lost() -> VersionBench:
    """What an earlier daemon knew was damaged."""
    bench = VersionBench("a")
    bench.prove()
    bench.state = replace(bench.state, lost=Loss(bench.now, "versions.json.corrupt"))
    return bench


@pytest.mark.parametrize("fact", [Pin(OLD), Unpin()])
def test_what_was_lost_is_a_condition_until_an_operator_decides(fact: Pin | Unpin) -> None:
    bench = lost()
    bench.restart()
    [it] = conditions(bench.state)
    assert (it.reason, it.blame, it.since) == ("file_damaged", Blame.HOST, bench.now)
    assert it.message.endswith("the damaged file is versions.json.corrupt")
    bench.post(fact)
    assert conditions(bench.state) == []


@pytest.mark.parametrize("type_", CONDITIONS)
def test_every_condition_has_a_test_above(type_: str) -> None:
    made = [rolled_back(), candidate("a"), VersionBench("a"), lost()]
    fails(made[1])
    made[2].post(Refused(OLD))
    assert type_ in {it.type for bench in made for it in conditions(bench.state)}
