"""What of a profile cannot be read for a moment: unknown is not missing."""

import errno
from pathlib import Path

import pytest

from tests.host.odd_files import hide, refuse
from tests.supervision.bench import CONNECTED, QR_SHOWN, Bench
from tests.supervision.fake_workers import Script
from tests.supervision.leaving import logging_out, quarantined_now
from tests.supervision.sessions import connected, until
from tests.supervision.world import World
from waguard.core.link import Link
from waguard.core.session import views
from waguard.errors import UnavailableError
from waguard.profile import layout
from waguard.profile.leaving_mark import LEAVING
from waguard.supervision.fleet import leaving


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


async def test_a_mark_of_a_logout_that_cannot_be_read_stays_and_its_profile_is_not_used(
    bench: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await logging_out(bench, world)
    with monkeypatch.context() as patch:
        refuse(patch, profile_of(world) / LEAVING, errno.EMFILE)
        await bench.restore()
        with pytest.raises(OSError, match="Too many open files"):
            await leaving.finish(bench.session())
        with pytest.raises(UnavailableError, match="Too many open files"):
            await bench.it.sessions.start("s", restart=False)
    assert (profile_of(world) / LEAVING).exists()
    world.spawn.scripts["s"] = Script(reports=(QR_SHOWN,))
    await bench.it.sessions.start("s", restart=False)
    await until(bench.session(), lambda s: s.link is Link.QR_PENDING)
    assert len(quarantined_now(world)) == 1
