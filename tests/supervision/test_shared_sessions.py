"""What a session does with credentials that hosts share: before its start, while it runs, at its end."""

from collections.abc import Collection

import pytest

from tests.supervision.bench import CONNECTED, TEXT, Bench
from tests.supervision.fake_workers import Script
from tests.supervision.sessions import connected, crash, until
from tests.supervision.world import World
from waguard.core.blame import Blame, Failure
from waguard.core.lifecycle import State
from waguard.core.session import views
from waguard.profile.layout import Places

UNREADABLE = Failure(Blame.HOST, "credentials_unreadable", "shared credentials cannot be read")


class Shared:
    """Fills what supervision asks of ``CredentialShipping``, and keeps what it was asked."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.failure: Failure | None = None
        self.calls: list[str] = []
        self.paired: set[str] = set()

    async def load(self, paired: Collection[str], sessions: Collection[str] | None = None) -> None:
        self.calls.append("load")
        self.paired = set(paired)

    def has(self, session: str) -> bool:
        return "load" in self.calls and session == "s"

    async def prepare(self, at: Places, *, unpaired: bool) -> Failure | None:
        self.calls.append("prepare unpaired" if unpaired else "prepare")
        if self.failure is None and not at.profile.exists():
            self._world.profile(at.session)
        return self.failure

    def began(self, at: Places) -> None:
        self.calls.append(f"began {at.session}")

    def changed(self, session: str) -> None:
        if self.calls[-1] != f"changed {session}":
            self.calls.append(f"changed {session}")

    def ended(self, session: str) -> None:
        self.calls.append(f"ended {session}")

    async def clear(self, at: Places) -> None:
        self.calls.append(f"clear {at.session}")

    async def close(self, within: float) -> None:
        self.calls.append("close")
        self.within = within


@pytest.fixture
def shared(world: World) -> Shared:
    made = world.shipping = Shared(world)
    return made


@pytest.mark.timings(held_retry=0.01)
async def test_one_without_a_profile_is_started_with_what_is_shared(
    shared: Shared, bench: Bench, world: World
) -> None:
    world.spawn.script = Script(reports=(CONNECTED,))
    world.profile("another")
    await bench.row("s", profile=False)
    await bench.row("t", profile=False)
    shared.failure = UNREADABLE
    await bench.restore()
    session = bench.session()
    await until(session, lambda s: s.lifecycle is State.BACKOFF)
    (condition,) = views.conditions(session.state)
    assert (condition.blame, condition.reason) == (Blame.HOST, "credentials_unreadable")
    assert world.spawn.started == [], "nothing begins on what may be old"
    assert bench.session("t").lifecycle is State.PARKED, "nothing is shared of it"
    assert shared.paired == {"s", "t"}
    shared.failure = None
    await until(session, connected)
    assert session.state.restarts == 0
    assert shared.calls[-2:] == ["began s", "changed s"]


async def test_each_change_and_each_end_is_shipped(
    shared: Shared, bench: Bench, world: World
) -> None:
    world.spawn.script = Script(reports=(CONNECTED,))
    await bench.row("s")
    await bench.restore()
    await until(bench.session(), connected)
    shared.calls.append("")
    await bench.session().traffic.send(TEXT)
    assert shared.calls[-1] == "changed s"
    shared.calls.clear()
    shared.calls.append("load")
    await crash(bench.session())
    await until(bench.session(), connected)
    assert [it for it in shared.calls if it != "changed s"] == [
        "load",
        "ended s",
        "prepare",
        "began s",
    ]
    await bench.it.sessions.delete("s", purge=True)
    assert "clear s" in shared.calls
    assert shared.calls.index("ended s") < shared.calls.index("clear s")


async def test_an_adopted_worker_is_shipped_and_the_end_waits_for_what_is_left(
    shared: Shared, bench: Bench, world: World
) -> None:
    world.spawn.script = Script(reports=(CONNECTED,))
    await bench.row("s")
    await bench.restore()
    await until(bench.session(), connected)
    left = await bench.die()
    shared.calls.clear()
    await bench.restore(*((it.record, it.process) for it in left))
    assert shared.calls[:2] == ["load", "began s"]
    await bench.it.stop(shipping=0.5)
    assert shared.calls[-1] == "close"
    assert shared.within == 0.5
    assert "ended s" in shared.calls


async def test_one_that_is_not_paired_has_nothing_that_could_be_laid_down(
    shared: Shared, bench: Bench, world: World
) -> None:
    world.spawn.script = Script(reports=(CONNECTED,))
    await bench.row("s", status="qr_scanning", profile=False)
    await shared.load([])
    await bench.restore()
    session = bench.session()
    await until(session, connected)
    assert "prepare unpaired" in shared.calls
    await bench.it.sessions.delete("s", purge=True)
    assert shared.has("s"), "the database was away then"
    assert session.profile.is_there() is False


async def test_one_that_lies_in_another_workspace_is_moved_before_anything_is_laid_down(
    shared: Shared, bench: Bench, world: World
) -> None:
    world.spawn.script = Script(reports=(CONNECTED,))
    await bench.row("s", profile=False)
    before = world.profile("s", 8)
    await bench.restore()
    await until(bench.session(), connected)
    assert not before.exists()
    assert "prepare" in shared.calls
