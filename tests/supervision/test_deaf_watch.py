"""A page that raises no events looks healthy: its chats are asked."""

import asyncio
from typing import Any, Final

import pytest

from tests.supervision.bench import Bench
from tests.supervision.fake_host import START
from tests.supervision.fake_workers import FakeProcess
from tests.supervision.reports import message
from tests.waiting import wait_until
from waguard.core.incidents.folding import fold
from waguard.core.incidents.sentences import sentences
from waguard.core.link import Link
from waguard.supervision.session.deaf_watch import AGAIN, QUIET, SKEW, STORED
from waguard.supervision.session.traffic import Traffic
from waguard.wire.calls import Failed

LATE: Final = int(START) + 5_000


class Quiet:
    """A session to whose chats messages come."""

    def __init__(self, bench: Bench, process: FakeProcess) -> None:
        self.bench, self.process, self.number = bench, process, 0

    @property
    def traffic(self) -> Traffic:
        return self.bench.session().traffic

    def comes(self, *, backfilled: bool) -> None:
        self.number += 1
        self.process.event(message(self.number, timestamp=LATE, backfilled=backfilled))

    async def passes(self, seconds: float) -> None:
        """Also what was reported before is there."""
        await wait_until(lambda: len(self.bench.world.inbox.kept) == self.number, "all is stored")
        self.bench.world.clock.advance(seconds)
        self.bench.session().tick()  # the watchdog would say that the daemon stood still
        await asyncio.sleep(0)

    async def is_asked(self, *, after: float) -> None:
        """Its chats are, when so much time has passed without an event, and not before."""
        asked = len(self.process.caught_up)
        await self.passes(after - 1.0)
        assert len(self.process.caught_up) == asked
        await self.passes(1.0)
        await wait_until(lambda: len(self.process.caught_up) == asked + 1, "its chats are asked")
        await wait_until(lambda: self.traffic.deaf._to_evaluate, "it has answered")

    def audited(self) -> list[Any]:
        return self.bench.world.audited("page_deaf")


@pytest.fixture
async def quiet(empty: Bench) -> Quiet:
    """Connected, and what was missed before is read."""
    it = Quiet(empty, await empty.connected())
    await wait_until(lambda: it.process.caught_up, "it was read back after the load")
    await it.passes(1.0)
    return it


async def test_a_page_whose_chats_have_more_than_it_says_is_deaf(quiet: Quiet) -> None:
    await quiet.is_asked(after=QUIET)
    floor = quiet.process.caught_up[-1].floor
    now = quiet.bench.world.clock.wall()
    assert floor == pytest.approx(now - QUIET - SKEW, abs=2.0)
    quiet.comes(backfilled=True)
    await quiet.passes(STORED)
    assert quiet.traffic.deaf.deaf_at is None, "that one may have been on its way"
    await quiet.is_asked(after=AGAIN - STORED)
    quiet.comes(backfilled=True)
    await quiet.passes(STORED)
    assert quiet.traffic.deaf.deaf_at is not None
    [found] = [it for it in quiet.bench.it.health.read().conditions if it.type == "deaf"]
    assert found.session == "s"
    await wait_until(quiet.audited, "it is on the trail")
    # an event ends it
    quiet.comes(backfilled=False)
    await wait_until(lambda: quiet.traffic.deaf.deaf_at is None, "it hears")
    await wait_until(lambda: quiet.bench.world.audited("page_hears"), "that is on the trail")
    entries = [it for it in quiet.bench.world.store.entries if it.session_id == "s"]
    [incident] = fold(entries)
    assert "raises no events" in incident.cause
    assert "raises events again" in sentences(incident)[-1]


async def test_a_page_that_raises_events_is_not_asked(quiet: Quiet) -> None:
    asked = len(quiet.process.caught_up)
    for _ in range(4):
        quiet.comes(backfilled=False)
        await quiet.passes(QUIET / 2)
    assert len(quiet.process.caught_up) == asked


async def test_a_single_find_proves_nothing(quiet: Quiet) -> None:
    await quiet.is_asked(after=QUIET)
    quiet.comes(backfilled=True)
    await quiet.passes(STORED)
    await quiet.is_asked(after=AGAIN - STORED)
    await quiet.passes(STORED)
    assert quiet.traffic.deaf._proofs == 0, "the chats had nothing more"
    await quiet.is_asked(after=QUIET - STORED)
    assert not quiet.audited()


async def test_another_link_begins_again(quiet: Quiet) -> None:
    await quiet.is_asked(after=QUIET)
    quiet.comes(backfilled=True)
    await quiet.passes(STORED)
    assert quiet.traffic.deaf._proofs == 1
    quiet.process.report("offline")
    await wait_until(lambda: quiet.bench.session().link is Link.OFFLINE, "it is offline")
    await quiet.passes(AGAIN)
    assert quiet.traffic.deaf._proofs == 0


async def test_a_page_that_cannot_be_asked_proves_nothing(quiet: Quiet) -> None:
    quiet.process.script.backfills = Failed(kind="not_ready", error="it is loaded")
    asked = len(quiet.process.caught_up)
    await quiet.passes(QUIET)
    await wait_until(lambda: len(quiet.process.caught_up) == asked + 1, "its chats are asked")
    await wait_until(lambda: not quiet.traffic.deaf._asking, "it has answered")
    assert not quiet.traffic.deaf._to_evaluate


async def test_off_nobody_is_asked(quiet: Quiet) -> None:
    quiet.bench.world.change("versions", mode="off")
    asked = len(quiet.process.caught_up)
    await quiet.passes(QUIET)
    await quiet.passes(QUIET)
    assert len(quiet.process.caught_up) == asked
