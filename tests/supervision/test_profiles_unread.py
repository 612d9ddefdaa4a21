"""What of a profile cannot be read for a moment: unknown is not missing."""

import errno
from pathlib import Path

import pytest

from tests.host.odd_files import hide
from tests.supervision.bench import CONNECTED, Bench
from tests.supervision.fake_workers import Script
from tests.supervision.sessions import connected, until
from tests.supervision.world import World
from waguard.core.session import views
from waguard.profile import layout


def profile_of(world: World) -> Path:
    return layout.path(world.config.paths.sessions, 7, "s")


async def test_a_profile_that_cannot_be_read_as_the_daemon_starts_parks_nobody(
    bench: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.row("s")
    world.spawn.script = Script(reports=(CONNECTED,))
    with monkeypatch.context() as patch:
        hide(patch, profile_of(world) / "Default", errno.EIO)
        restoring = await bench.restoring()
        session = bench.session()
        await until(session, lambda s: s.state.failure is not None and not s.state.worker)
        [it] = views.conditions(session.state)
        assert (it.type, it.reason, it.needs_person) == ("start", "profile_unreadable", True)
        assert str(profile_of(world)) in it.remedy
        await bench.it.sessions.start("s", restart=False)
    world.clock.advance(session.state.rules.held_retry)
    await until(session, connected)
    await restoring
