"""What is said of a world that is well, and of one in which a single thing is not."""

from dataclasses import replace
from typing import Any

import pytest

from waguard.chaos.invariants import Facts, Harm, Incident, Told, always, settled
from waguard.chaos.processes import Census, Process

WELL = Told(status="connected", lifecycle="running", link="connected", worker=12, browser=13)
SEEN = Census(
    daemons=(10,), fork_servers=(11,), workers={"s1": (12,)}, browsers={"s1": (13,)}, parts=(14,)
)
FACTS = Facts(sessions=("s1",), rows={"s1": "connected"}, told={"s1": WELL}, census=SEEN)
QUIET = Harm(began=100.0)
HURT = Harm(began=100.0, hurt=frozenset({"s1"}))
STRAY = Process(pid=99, parent=1, group=99, argv=("chromium", "--type=gpu"))


def test_a_world_that_is_well() -> None:
    assert settled(FACTS, QUIET) == []
    assert always(FACTS, QUIET) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rows": None}, "the database cannot be read"),
        ({"told": None}, "the API does not answer"),
        ({"rows": {}}, "s1: not known to the database"),
        ({"told": {}}, "s1: not known to the API"),
        ({"rows": {"s1": "failed"}}, "s1: the row says failed, the API connected"),
        (
            {"told": {"s1": replace(WELL, link="offline")}},
            "s1: it is connected, running, offline",
        ),
        (
            {"told": {"s1": replace(WELL, worker=77)}},
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
        ({"aside": frozenset({"s1"})}, "s1: no incident tells of it"),
    ],
)
def test_what_is_not_as_it_should_be(changes: dict[str, Any], told: str) -> None:
    facts = replace(FACTS, **changes)
    assert settled(facts, QUIET) == [told]
    assert always(facts, QUIET) == []  # it may still heal


@pytest.mark.parametrize(
    ("facts", "harm", "told"),
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
    ],
)
def test_what_must_never_be(facts: Facts, harm: Harm, told: str) -> None:
    assert always(facts, harm) == [told]
    assert told in settled(facts, harm)


def test_a_code_after_an_unlink_is_the_persons_part() -> None:
    facts = replace(FACTS, codes={"s1": 2})
    assert settled(facts, Harm(began=100.0, may_scan=frozenset({"s1"}))) == []


def test_what_was_stopped_must_be_replaced() -> None:
    assert settled(FACTS, Harm(began=100.0, gone=frozenset({13, 77}))) == ["not replaced: 13"]


@pytest.mark.parametrize(
    ("incidents", "told"),
    [
        ((), ["s1: no incident tells of it"]),
        ((Incident(50.0, 60.0),), ["s1: no incident tells of it"]),
        ((Incident(50.0, 60.0), Incident(101.0, None)), ["s1: its incident goes on"]),
        ((Incident(50.0, 60.0), Incident(101.0, 103.0)), []),
        ((Incident(99.99, 103.0),), []),  # clocks are read one after the other
    ],
)
def test_each_fault_has_its_incident(incidents: tuple[Incident, ...], told: list[str]) -> None:
    assert settled(replace(FACTS, incidents={"s1": incidents}), HURT) == told
