"""What is said of a world that is well, and of one in which a single thing is not."""

from typing import Any

import pytest

from waguard.core.replace import replace
from waguard.lab.chaos.invariants import (
    Facts,
    Harm,
    Incident,
    ReportedSession,
    Rows,
    always,
    unhealed,
)
from waguard.lab.chaos.processes import Census, Process

WELL = ReportedSession(
    status="connected", lifecycle="running", link="connected", worker=12, browser=13
)
SEEN = Census(
    daemons=(10,), fork_servers=(11,), workers={"s1": (12,)}, browsers={"s1": (13,)}, parts=(14,)
)
FACTS = Facts(sessions=("s1",), rows={"s1": "connected"}, reported={"s1": WELL}, census=SEEN)
QUIET = Harm(began=100.0)
HURT = Harm(began=100.0, hurt=frozenset({"s1"}))
BLAMELESS = Harm(began=100.0, restarts={"s1": 1})
STRAY = Process(pid=99, parent=1, group=99, argv=("chromium", "--type=gpu"))


def test_a_world_that_is_well() -> None:
    assert unhealed(FACTS, QUIET) == []
    assert always(FACTS, QUIET) == []


@pytest.mark.parametrize(
    ("changes", "reported"),
    [
        ({"rows": None}, "the database cannot be read"),
        ({"reported": None}, "the API does not answer"),
        ({"rows": {}}, "s1: not known to the database"),
        ({"reported": {}}, "s1: not known to the API"),
        ({"rows": {"s1": "failed"}}, "s1: the row says failed, the API connected"),
        (
            {"reported": {"s1": replace(WELL, link="offline")}},
            "s1: it is connected, running, offline",
        ),
        (
            {"reported": {"s1": replace(WELL, worker=77)}},
            "s1: the API says worker 77, the host 12",
        ),
        (
            {"census": replace(SEEN, browsers={})},
            "s1: the API says browser 13, the host none",
        ),
        (
            {"census": replace(SEEN, workers={"s1": (12, 15)})},
            "s1: the API says worker 12, the host 12, 15",
        ),
        ({"census": replace(SEEN, daemons=(10, 20))}, "2 daemons"),
        ({"census": replace(SEEN, fork_servers=(11, 21))}, "2 fork servers"),
        (
            {"census": replace(SEEN, workers={"s1": (12,), "s9": (22,)})},
            "workers of unknown sessions: s9",
        ),
        ({"census": replace(SEEN, stopped=(14,))}, "stopped processes: 14"),
        ({"census": replace(SEEN, strays=(STRAY,))}, "stray process 99: chromium --type=gpu"),
        ({"quarantined": frozenset({"s1"})}, "s1: no incident reports it"),
    ],
)
def test_what_is_not_as_it_should_be(changes: dict[str, Any], reported: str) -> None:
    facts = replace(FACTS, **changes)
    assert unhealed(facts, QUIET) == [reported]
    assert always(facts, QUIET) == []  # it may still heal


@pytest.mark.parametrize(
    ("facts", "harm", "reported"),
    [
        (
            replace(FACTS, census=replace(SEEN, browsers={"s1": (13, 23)})),
            QUIET,
            "s1: 2 Chromiums on one profile (13, 23)",
        ),
        (
            FACTS,
            Harm(began=100.0, kept=frozenset({12, 77})),
            "ended although nothing was wrong with them: 77",
        ),
        (
            replace(FACTS, codes={"s1": 1}),
            QUIET,
            "s1: a QR code is shown, its credentials were lost",
        ),
        (
            replace(FACTS, reported={"s1": replace(WELL, worker=None)}),
            QUIET,
            "s1: the API says connected, and there is no worker",
        ),
        (
            replace(FACTS, reported={"s1": replace(WELL, lifecycle="parked")}),
            BLAMELESS,
            "s1: it is parked, and nothing is wrong with it",
        ),
        (
            replace(FACTS, reported={"s1": replace(WELL, restarts=2)}),
            BLAMELESS,
            "s1: 2 restarts, 1 were due",
        ),
        (
            replace(FACTS, at=159.0),
            Harm(began=100.0, hurt=frozenset({"s1"}), not_before=160.0),
            "s1: WhatsApp was asked again 1 s too early",
        ),
    ],
)
def test_what_must_never_be(facts: Facts, harm: Harm, reported: str) -> None:
    assert always(facts, harm) == [reported]
    assert reported in unhealed(facts, harm)


def test_a_code_after_an_unlink_is_the_persons_part() -> None:
    facts = replace(FACTS, codes={"s1": 2})
    assert unhealed(facts, Harm(began=100.0, may_scan=frozenset({"s1"}))) == []


def test_what_was_stopped_must_be_replaced() -> None:
    assert unhealed(FACTS, Harm(began=100.0, gone=frozenset({13, 77}))) == ["not replaced: 13"]


@pytest.mark.parametrize(
    ("incidents", "reported"),
    [
        ((), ["s1: no incident reports it"]),
        ((Incident(50.0, 60.0),), ["s1: no incident reports it"]),
        ((Incident(50.0, 60.0), Incident(101.0, None)), ["s1: its incident is open"]),
        ((Incident(50.0, 60.0), Incident(101.0, 103.0)), []),
        ((Incident(99.99, 103.0),), []),  # clocks are read one after the other
    ],
)
def test_each_fault_has_its_incident(incidents: tuple[Incident, ...], reported: list[str]) -> None:
    assert unhealed(replace(FACTS, incidents={"s1": incidents}), HURT) == reported


@pytest.mark.parametrize(
    ("reported", "harm"),
    [
        (replace(WELL, restarts=1), BLAMELESS),
        (
            replace(WELL, restarts=9, lifecycle="parked"),
            QUIET,
        ),  # that is judged where it is awaited
        (
            replace(WELL, link="offline"),
            Harm(began=100.0, hurt=frozenset({"s1"}), not_before=160.0),
        ),
        (WELL, Harm(began=100.0, not_before=160.0)),
    ],
)
def test_what_may_be(reported: ReportedSession, harm: Harm) -> None:
    assert always(replace(FACTS, at=159.0, reported={"s1": reported}), harm) == []


@pytest.mark.parametrize(
    ("workers", "offline", "between"),
    [
        ({"s1": 12, "s2": 22, "s3": 32}, (), None),  # all wait for their turn
        ({"s1": 12, "s2": 22, "s3": 32}, ("s1", "s2", "s3"), None),
        ({"s1": 13, "s3": 32}, ("s1", "s2"), None),
        ({"s1": 13, "s2": 23, "s3": 33}, ("s3",), None),  # two are back
        ({"s1": 13}, ("s1", "s2", "s3"), "s1, s2, s3"),
    ],
)
def test_workers_are_replaced_some_at_a_time(
    workers: dict[str, int], offline: tuple[str, ...], between: str | None
) -> None:
    names = ("s1", "s2", "s3")
    facts = Facts(
        sessions=names,
        rows=dict.fromkeys(names, "connected"),
        reported={n: replace(WELL, link="offline" if n in offline else "connected") for n in names},
        census=Census(workers={name: (pid,) for name, pid in workers.items()}),
    )
    harm = Harm(began=100.0, outdated={"s1": 12, "s2": 22, "s3": 32}, at_once=2)
    reported = f"replaced at the same time: {between}; at most 2 may be"
    assert always(facts, harm) == ([reported] if between else [])
    assert always(replace(facts, reported=None), harm) == []  # nobody knows


LIES = replace(FACTS, reported={"s1": replace(WELL, status="disconnected")})
ALONE = replace(FACTS, census=replace(SEEN, workers={}))


@pytest.mark.parametrize(
    ("facts", "reported"),
    [
        (LIES, "s1: the row says connected, the API disconnected for 2.5 s"),
        (ALONE, "s1: the row says connected, and no worker lives for 2.5 s"),
    ],
)
def test_a_row_has_some_time_to_follow(facts: Facts, reported: str) -> None:
    rows = Rows()
    assert rows.wrong(facts, 10.0) == rows.wrong(facts, 12.0) == []
    assert rows.wrong(facts, 12.5) == [reported]
    assert rows.wrong(FACTS, 13.0) == rows.wrong(facts, 13.5) == []  # it was right meanwhile


@pytest.mark.parametrize("unknown", [{"rows": None}, {"reported": None}])
def test_a_row_that_nobody_saw_is_no_lie(unknown: dict[str, Any]) -> None:
    rows = Rows()
    assert rows.wrong(LIES, 10.0) == rows.wrong(replace(LIES, **unknown), 11.0) == []
    assert rows.wrong(LIES, 12.5) == []


@pytest.mark.parametrize(
    ("incidents", "reported"),
    [
        ((), ["no incident of the fleet reports it: /p"]),
        ((Incident(50.0, 60.0, "/p is away"),), ["no incident of the fleet reports it: /p"]),
        ((Incident(101.0, 102.0, "/q is away"),), ["no incident of the fleet reports it: /p"]),
        ((Incident(101.0, None, "/p is away"),), ["the fleet's incident is open: /p"]),
        ((Incident(101.0, 103.0, "/p is away"),), []),
    ],
)
def test_what_concerned_all_has_its_incident(
    incidents: tuple[Incident, ...], reported: list[str]
) -> None:
    assert unhealed(replace(FACTS, fleet=incidents), Harm(began=100.0, fleet="/p")) == reported
