"""Sends that fail everywhere: whether the version is tried or a worker replaced, never both, and until when it is said."""

import pytest

from tests.supervision.bench import Bench
from tests.supervision.version_drill import BROKEN, NAMES, NEW, OLD, Drill
from waguard.core.fleet.ack_watch import PAUSE
from waguard.core.replace import replace
from waguard.core.versions.facts import TimerDue
from waguard.core.versions.state import Acquittal
from waguard.supervision.session.actor import SessionActor

PATIENCE = 600  # s


@pytest.fixture
async def drill(bench: Bench) -> Drill:
    return Drill(bench)


def throws_at_two(session: SessionActor) -> None:
    """So many that the worker is replaced where nobody else cures it."""
    for chat in ("c", "d"):
        session.traffic.throws.threw(chat, BROKEN)


async def up(drill: Drill) -> None:
    """The constants of a trial are so long that a worker could be replaced meanwhile."""
    await drill.up()
    drill.world.change("versions", good_after=10.0, well_for=PAUSE, pause=20.0)
    drill.unhealthy = throws_at_two


def replaced(drill: Drill) -> list[str]:
    """Whose worker was replaced for the throws alone."""
    return [
        it.session_id or ""
        for it in drill.world.store.entries
        if it.kind == "recycled" and BROKEN in str(it.reason)
    ]


def outages(drill: Drill) -> list[str]:
    known = {"sends_throw_everywhere", "sends_back_everywhere"}
    return [it.kind for it in drill.world.store.entries if it.kind in known]


async def test_one_rollback_is_one_decision_and_one_condition(drill: Drill) -> None:
    await up(drill)
    await drill.load_new(*NAMES)
    await drill.until(lambda: "sends_throw_everywhere" in outages(drill))
    while not all(drill.page(name) == OLD for name in NAMES):
        on = {it.type for it in drill.bench.it.health.read().conditions}
        held = drill.bench.it.versions.state.hold is not None
        assert held or "sends_throw_everywhere" in on, "it stands until what all have sends again"
        await drill.run(1)
    await drill.run(int(PAUSE))
    assert drill.bench.it.versions.state.hold
    assert replaced(drill) == []
    assert outages(drill) == ["sends_throw_everywhere", "sends_back_everywhere"]


async def test_what_no_other_version_cures_is_left_to_one_replacement_at_a_time(
    drill: Drill,
) -> None:
    """Before a version is proven there is nothing to compare with."""
    drill.network = NEW
    drill.unhealthy = throws_at_two
    await drill.come_up()
    await drill.until(lambda: len(replaced(drill)) == 1, within=PATIENCE)
    assert drill.bench.it.versions.state.suspected is None
    await drill.until(lambda: outages(drill) == ["sends_throw_everywhere"], within=PATIENCE)


async def test_after_an_acquittal_a_worker_is_replaced_again(drill: Drill) -> None:
    await up(drill)
    versions = drill.bench.it.versions
    versions.state = replace(
        versions.state, acquittal=Acquittal(NEW, 9, versions.now() + 14_400.0, len(NAMES))
    )
    versions.post(TimerDue())
    await drill.load_new("a")
    await drill.until(lambda: replaced(drill) == ["a"])
    assert versions.state.trial is None
