"""What the host lacks is no session's fault whatever the exit code says, and a page that is loaded again and again is its
session's alone."""

import pytest

from tests.simulation.chronicle import Chronicle, of_all, own
from tests.simulation.faults import LACKS
from waguard.core.blame import Blame
from waguard.core.page_care import Kind
from waguard.core.session import effects as do
from waguard.core.session.views import conditions

KILLED = ("s0", "s1")


@pytest.mark.parametrize("lack", LACKS)
def test_a_lack_spends_no_budget_names_itself_and_ends_within_a_try(lack: str) -> None:
    kills = [own("kill_worker", name, at=1.0) for name in KILLED]
    story = Chronicle(of_all(lack, 300.0), *kills).until(299.0)
    kind = "browser_hangs" if lack == "hanging" else "disk_unusable"
    assert story.outages(kind)[0][1]
    down = [name for name in story.world.pages if not story.up(name)]
    assert {*down} >= {*KILLED}
    for name in down:
        (condition,) = conditions(story.state(name))
        assert condition.blame is Blame.HOST
        assert "Install Chromium" not in condition.remedy
        assert story.state(name).restarts <= 1, "the kill itself"
    assert story.recorded("parked") == []
    assert story.until(345.0).all_up()
    assert story.outages(kind)[-1][1] is False


@pytest.mark.parametrize("kind", ["page_reloads", "page_spins"])
def test_a_page_that_is_loaded_again_and_again_is_parked_after_another_worker(kind: str) -> None:
    story = Chronicle(own(kind, "s0", 600.0)).until(350.0)
    assert len(story.recorded("page_restarts", "s0")) == 1
    assert len(story.recorded("restart", "s0")) == 1
    assert len(story.recorded("parked", "s0")) == 1
    assert {name for _, name, _ in story.did(do.Spawn)} == {"s0"}
    assert story.until(3_000.0).all_up()


def test_a_build_that_reloads_costs_nobody_anything() -> None:
    story = Chronicle(of_all("build_reloads", 600.0), sessions=5).until(590.0)
    assert story.did(do.Terminate) == []
    for name in story.world.pages:
        found = {it.type: it.blame for it in conditions(story.state(name))}
        assert found[str(Kind.PAGE_RESTARTS)] is Blame.WHATSAPP
    story.until(1_000.0)
    assert [begun for _, begun in story.outages("pages_restart_everywhere")] == [True, False]
    assert story.all_up()


def test_loads_of_a_build_that_reloads_are_not_the_sessions_when_it_is_over() -> None:
    """A session that has another worker meanwhile has its loads of then for longer than the others."""
    story = Chronicle(
        own("refused_one", "s1", 1_501.0),
        of_all("build_reloads", 105.0, at=483.8),
        own("link_unknown", "s1", at=683.8),
        sessions=4,
        seed=1,
    )
    story.until(1_400.0)
    restarts = story.did(do.Record, "s1", lambda it: it.kind == "restart")
    assert restarts
    assert not [it.reason for _, _, it in restarts if "loaded again" in str(it.reason)]
