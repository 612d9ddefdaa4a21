"""The daemon's hold on the lease, on a database in memory."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from loguru import logger

from tests.store.memory import MemoryLease
from tests.supervision.world import World
from tests.waiting import DEADLINE
from waguard.core.lease import Holder, Terms, of_cluster
from waguard.core.replace import replace
from waguard.errors import DatabaseUnavailableError, DatabaseUnknownError, InstanceHeldError
from waguard.ports.store import AuditEntry
from waguard.supervision.fleet.lease_keeper import (
    LEFT_BEHIND_SHOWN,
    RENEWAL_DEADLINE,
    LeaseKeeper,
)
from waguard.supervision.outages import Outages
from waguard.supervision.status_writer import AuditLog

ME = Holder(machine="m1", runtime="/run/a", host="alpha", pid=7, instance="i7")
OTHER = Holder(machine="m2", runtime="/run/b", host="beta", pid=8, instance="i8")
TERMS = Terms(lasts=75.0, renewed_every=5.0)


class Host:
    """A daemon's keeper and all that it touches; the database's clock and ours move together."""

    def __init__(
        self, world: World, row: MemoryLease, mine: Holder = ME, here: Holder | None = None
    ) -> None:
        self.world = world
        self.row = row
        self.terms = TERMS
        self.entries: list[AuditEntry] = []
        trail = AuditLog(None, world.store, world.clock, publish=self.entries.append, retry=1.0)
        self.outages = Outages(trail)
        self.lost: list[InstanceHeldError] = []
        self.pauses: list[float] = []
        self.keeper = LeaseKeeper(
            row,
            mine,
            lambda: self.terms,
            self.outages,
            lost=self.lost.append,
            recognized=self._recognized,
            marked=lambda: "ours",
            standby=lambda: self.standby,
            held=lambda: self.lent.append(self.keeper.lent_until),
            here=here,
            clock=world.clock.monotonic,
            pause=self._pause,
        )
        self.meanwhile: Callable[[], object] = lambda: None
        self.unknown = self.standby = False
        self.asked = 0
        """How often whose database it is was asked."""
        self.lent: list[float | None] = []

    async def _recognized(self) -> None:
        self.asked += 1
        if self.unknown:
            raise DatabaseUnknownError("it is not ours")

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.world.clock.advance(seconds)
        self.meanwhile()

    async def live(self, seconds: int) -> None:
        """Tick each half second."""
        for _ in range(2 * seconds):
            self.world.clock.advance(0.5)
            await self.tick()

    async def tick(self) -> None:
        """With the renewal that it begins."""
        await self.keeper.tick()
        await self.keeper.renewed()


@pytest.fixture
def row(world: World) -> MemoryLease:
    return MemoryLease(now=world.clock.wall)


@pytest.fixture
def host(world: World, row: MemoryLease) -> Host:
    return Host(world, row)


async def held_by_other(row: MemoryLease) -> int:
    epoch = await row.acquire(OTHER, TERMS, lambda _: True)
    assert epoch is not None
    return epoch


async def test_before_it_is_taken_the_database_is_barred(host: Host) -> None:
    assert "not taken yet" in (host.keeper.why_barred() or "")
    await host.keeper.acquire()
    assert host.keeper.why_barred() is None
    assert host.pauses == []
    await host.keeper.acquire()
    assert host.row.row
    assert host.row.row.epoch == 1


async def test_one_that_was_acquired_while_the_start_was_cancelled_is_released(
    host: Host, row: MemoryLease, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed, answered = asyncio.Event(), asyncio.Event()
    acquire = row.acquire

    async def slow(*arguments: Any, **more: Any) -> int | None:
        epoch = await acquire(*arguments, **more)
        committed.set()
        await answered.wait()
        return epoch

    monkeypatch.setattr(row, "acquire", slow)
    starting = asyncio.create_task(host.keeper.acquire())
    await committed.wait()
    starting.cancel()
    asyncio.get_running_loop().call_soon(answered.set)
    with pytest.raises(asyncio.CancelledError):
        await starting
    await host.keeper.release()
    assert row.row
    assert row.row.released, "the next daemon does not wait until it has expired"


async def test_the_same_place_takes_it_without_a_pause(host: Host, row: MemoryLease) -> None:
    await row.acquire(replace(ME, pid=6, instance="i6"), TERMS, lambda _: True)
    await host.keeper.acquire()
    assert host.pauses == []
    assert (row.row and row.row.epoch, row.row and row.row.holder) == (2, ME)


async def test_another_place_waits_until_it_has_expired(host: Host, row: MemoryLease) -> None:
    await held_by_other(row)
    said: list[str] = []
    host.meanwhile = lambda: said.append(host.keeper.why_barred() or "")
    await host.keeper.acquire()
    assert sum(host.pauses) == pytest.approx(75.0)
    assert all("the waguard on beta in /run/b (pid 8)" in words for words in said)
    assert host.keeper.why_barred() is None
    assert host.outages.why("lease_held") is None
    assert [entry.kind for entry in host.entries] == [
        "lease_held",
        "lease_taken",
        "events_left_behind",
    ]
    assert "the waguard on beta in /run/b lost" in (host.outages.why("events_left_behind") or "")
    host.world.clock.advance(LEFT_BEHIND_SHOWN)
    await host.tick()
    assert host.outages.why("events_left_behind") is None


async def test_who_waits_gives_up_when_it_is_renewed(host: Host, row: MemoryLease) -> None:
    epoch = await held_by_other(row)
    other = Host(host.world, row, OTHER)
    other.keeper._hold(epoch, TERMS, host.world.clock.monotonic())
    assert row.row
    before = row.row

    def renew() -> None:
        if sum(host.pauses) >= 5:
            row.row = replace(before, renewed_at=row.now())

    host.meanwhile = renew
    with pytest.raises(InstanceHeldError, match="on beta in /run/b") as refused:
        await host.keeper.acquire()
    assert refused.value.code == 3
    assert sum(host.pauses) == pytest.approx(5.0)
    assert row.row.holder == OTHER
    assert host.keeper.why_barred()


async def test_an_outage_while_it_waits_begins_the_wait_again(host: Host, row: MemoryLease) -> None:
    await held_by_other(row)

    def go_away() -> None:
        row.down = sum(host.pauses) >= 70

    host.meanwhile = go_away
    with pytest.raises(DatabaseUnavailableError):
        await host.keeper.acquire()
    row.down = False
    host.meanwhile = lambda: None
    host.world.clock.advance(100)
    host.pauses.clear()
    await host.keeper.acquire()
    assert sum(host.pauses) == pytest.approx(10.0)  # two renewals of a holder that may live


async def test_the_lease_is_renewed_each_third_of_the_margin(host: Host, row: MemoryLease) -> None:
    await host.keeper.acquire()
    assert row.row
    times = set()
    for _ in range(60):
        await host.live(1)
        times.add(row.row.renewed_at)
    assert len(times) == 60 / 5 + 1
    assert row.row.epoch == 1
    host.terms = Terms(lasts=20.0, renewed_every=1.0)  # the configuration was read again
    await host.live(5)
    assert row.row.terms == host.terms


async def test_a_holder_without_a_database_keeps_it_and_renews_it_first(
    host: Host, row: MemoryLease
) -> None:
    await host.keeper.acquire()
    row.down = True
    await host.live(74)
    assert host.keeper.why_barred() is None  # nobody else can have taken it yet
    await host.live(60)
    assert "not renewed for" in (host.keeper.why_barred() or "")
    assert host.lost == []
    row.down = False
    await host.live(1)
    assert host.keeper.why_barred() is None
    assert row.row
    assert row.row.epoch == 1


async def test_a_holder_that_stood_still_uses_nothing_before_it_has_renewed(
    host: Host, row: MemoryLease
) -> None:
    await host.keeper.acquire()
    host.world.clock.advance(80)
    assert host.keeper.why_barred()
    await held_by_other(row)
    await host.tick()
    [error] = host.lost
    assert "the waguard on beta" in error.line()


async def test_a_newer_epoch_is_the_end(host: Host, row: MemoryLease) -> None:
    await host.keeper.acquire()
    await held_by_other(row)
    await host.live(5)
    [error] = host.lost
    assert error.code == 3
    assert "has taken the database's lease over: the waguard on beta in /run/b" in error.line()
    assert host.keeper.why_barred() == error.message
    assert row.row
    after = row.row
    await host.live(10)
    await host.keeper.release()
    assert row.row == after  # it is another one's
    assert len(host.lost) == 1


async def test_in_another_database_the_lease_is_not_taken_nor_lost(
    host: Host, row: MemoryLease
) -> None:
    """Its holder lives, and has a newer epoch: that is no reason to end."""
    await host.keeper.acquire()
    ours = row.row
    host.unknown, row.row = True, None
    await row.acquire(OTHER, TERMS, lambda _: True, above=5)
    theirs = row.row
    await host.live(20)
    assert (host.lost, row.row) == ([], theirs)
    host.unknown, row.row = False, ours
    back = row.now()
    await host.live(1)
    assert host.keeper.why_barred() is None
    assert row.row
    assert row.row.renewed_at > back


async def test_whose_database_it_is_is_asked_again_where_a_renewal_does_not_find_it(
    host: Host, row: MemoryLease
) -> None:
    row.installation = "ours"
    await host.keeper.acquire()
    host.terms = replace(TERMS, renewed_every=0.5)
    await host.live(60)
    known = host.asked
    assert 2 <= known <= 3, "each half minute, and not at each renewal"
    row.installation, host.unknown = "theirs", True
    assert row.row
    before = row.row.renewed_at
    await host.live(1)
    assert host.asked > known
    assert row.row.renewed_at == before
    row.installation, host.unknown = "ours", False
    await host.live(1)
    assert row.row.renewed_at > before


# ---- with a standby ----


async def test_a_standby_takes_no_lease_for_a_step_of_the_databases_clock(
    host: Host, row: MemoryLease, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step of an hour shows one that was renewed seconds ago as expired."""
    await held_by_other(row)
    host.standby, ahead, now = True, [0.0], row.now
    monkeypatch.setattr(row, "now", lambda: now() + ahead[0])

    def live() -> None:
        seconds = len(host.pauses)
        ahead[0] = 3_600.0 if seconds >= 8 else 0.0
        if row.row and seconds % 5 == 0 and seconds <= 20:
            row.row = replace(row.row, renewed_at=row.now())

    host.meanwhile = live
    await host.keeper.acquire()
    assert sum(host.pauses) == pytest.approx(20 + 75)


async def test_a_standby_waits_for_a_holder_that_lives_and_takes_over_when_it_does_not(
    host: Host, row: MemoryLease
) -> None:
    epoch = await held_by_other(row)
    host.standby = True
    ended: list[float] = []

    async def end_workers() -> None:
        ended.append(sum(host.pauses))

    def renew() -> None:
        if row.row and sum(host.pauses) < 200 and len(host.pauses) % 5 == 0:
            row.row = replace(row.row, renewed_at=row.now())
        assert "standby: the waguard on beta" in (host.keeper.why_barred() or "")

    host.meanwhile = renew
    await host.keeper.acquire(before_waiting=end_workers)
    assert 270 <= sum(host.pauses) <= 280
    assert row.row
    assert (row.row.epoch, row.row.holder) == (epoch + 1, ME)
    assert ended == [0.0], "once, before it waits: another one runs their sessions"
    kinds = [entry.kind for entry in host.entries]
    assert kinds == ["standby", "standby_over", "events_left_behind"]


async def test_a_standby_is_no_trouble(host: Host, row: MemoryLease) -> None:
    await held_by_other(row)
    host.standby = True
    shown: list[bool] = []

    def release() -> None:
        shown.extend(it.degrades for it in host.outages.conditions)
        assert row.row
        row.row = replace(row.row, released=True)

    host.meanwhile = release
    await host.keeper.acquire()
    assert shown == [False]
    assert len(host.pauses) == 1
    assert host.outages.conditions == [], "an orderly end left nothing behind"


async def test_what_is_lent_follows_the_renewals_that_counted(host: Host, row: MemoryLease) -> None:
    host.standby = True
    assert host.keeper.lent_until is None
    await host.keeper.acquire()
    began = host.world.clock.monotonic()
    assert host.lent == [began + 70.0]
    assert host.keeper.fence == 1
    row.down = True
    await host.live(60)
    assert host.lent == [began + 70.0], "no renewal, no time"
    assert host.keeper.why_none_starts()
    row.down = False
    await host.live(1)
    assert (host.lent[-1] or 0.0) > began + 70.0
    assert host.keeper.why_none_starts() is None


async def test_without_a_standby_nothing_is_lent_and_no_write_is_fenced(
    host: Host, row: MemoryLease
) -> None:
    await host.keeper.acquire()
    row.down = True
    await host.live(300)
    assert set(host.lent) == {None}
    assert (host.keeper.fence, host.keeper.why_none_starts()) == (None, None)


async def test_of_two_clones_the_later_one_stays(host: Host, row: MemoryLease) -> None:
    await host.keeper.acquire()
    clone = Host(host.world, row, replace(ME, pid=9, instance="i9"))
    await clone.keeper.acquire()
    await host.live(5)
    await clone.live(5)
    [error] = host.lost
    assert "same machine-id" in error.line()
    assert clone.lost == []


@pytest.mark.parametrize("left", [None, 0])
async def test_a_database_restored_from_a_copy_is_taken_again_with_a_newer_epoch(
    host: Host, row: MemoryLease, left: int | None
) -> None:
    await row.acquire(ME, TERMS, lambda _: True, above=6)
    await host.keeper.acquire()
    assert row.row
    assert row.row.epoch == 8
    row.row = None if left is None else replace(row.row, epoch=left, holder=OTHER)
    await host.live(6)
    assert row.row
    assert (row.row.epoch, row.row.holder) == (9, ME)
    assert host.lost == []
    assert host.keeper.why_barred() is None


async def test_an_orderly_end_lets_the_next_host_begin_at_once(
    host: Host, row: MemoryLease
) -> None:
    await host.keeper.acquire()
    await host.keeper.release()
    assert host.keeper.why_barred()
    other = Host(host.world, row, OTHER)
    await other.keeper.acquire()
    assert other.pauses == []


async def test_a_release_that_the_database_does_not_take_is_no_trouble(
    host: Host, row: MemoryLease
) -> None:
    await host.keeper.release()  # never taken
    await host.keeper.acquire()
    row.down = True
    await host.keeper.release()
    await host.tick()
    assert (host.lost, row.row and row.row.released) == ([], False)


async def test_a_renewal_that_takes_long_holds_up_no_tick_and_is_not_cut_off(
    host: Host, row: MemoryLease, monkeypatch: pytest.MonkeyPatch
) -> None:
    await host.keeper.acquire()
    answered, asked, renew = asyncio.Event(), list[int](), row.renew

    async def slow(epoch: int, terms: Terms) -> bool:
        asked.append(epoch)
        await answered.wait()
        return await renew(epoch, terms)

    monkeypatch.setattr(row, "renew", slow)
    host.world.clock.advance(6)
    for _ in range(3):
        tick = asyncio.create_task(host.keeper.tick())
        await asyncio.wait([tick], timeout=DEADLINE)
        assert tick.done(), "a tick waits for no database"
        await asyncio.sleep(0)
        tick.cancel()  # as the ticker does at its end
    said: list[str] = []
    sink = logger.add(said.append, format="{extra[event]} {extra[why]}", level="ERROR")
    host.world.clock.advance(RENEWAL_DEADLINE)
    for _ in range(2):
        await host.keeper.tick()
    logger.remove(sink)
    assert said == [f"lease_not_renewed it takes longer than {RENEWAL_DEADLINE:g} s\n"]
    releasing = asyncio.create_task(host.keeper.release())
    await asyncio.sleep(0)
    assert (asked, releasing.done()) == ([1], False)
    answered.set()
    async with asyncio.timeout(DEADLINE):
        await releasing
    assert row.row
    assert (row.row.renewed_at, row.row.released) == (row.now(), True)


async def test_a_database_that_is_away_is_not_asked_for_a_release(
    host: Host, row: MemoryLease, monkeypatch: pytest.MonkeyPatch
) -> None:
    await host.keeper.acquire()
    row.down = True
    await host.live(6)
    row.down = False

    async def release(epoch: int) -> None:
        raise AssertionError(f"asked to release {epoch}")

    monkeypatch.setattr(row, "release", release)
    await host.keeper.release()
    assert host.keeper.why_barred()


async def test_a_standby_knows_its_holder_until_it_takes_over(host: Host, row: MemoryLease) -> None:
    await held_by_other(row)
    host.standby = True
    assert host.keeper.held_elsewhere is None
    seen: list[tuple[str, float | None]] = []

    def observe() -> None:
        it = host.keeper.held_elsewhere
        assert it
        seen.append((it.holder.host, it.renewed_ago))
        row.down = len(seen) == 3

    host.meanwhile = observe
    with pytest.raises(DatabaseUnavailableError):
        await host.keeper.acquire()
    assert seen == [("beta", 1.0), ("beta", 2.0), ("beta", 3.0)]
    host.outages.update("database_down", "no answer")  # as the restore does
    assert row.row
    assert host.keeper.held_elsewhere
    assert host.keeper.held_elsewhere.renewed_ago is None
    assert row.row.holder == OTHER, "nobody takes over without the database"
    row.down, host.meanwhile = False, lambda: None
    row.row = replace(row.row, released=True)
    await host.keeper.acquire()
    assert host.keeper.held_elsewhere is None


@pytest.mark.parametrize(
    ("standby", "by", "code"), [(True, OTHER, 6), (False, OTHER, 3), (True, ME, 3)]
)
async def test_a_holder_that_lost_it_is_the_standby_next_but_for_a_clone(
    host: Host, row: MemoryLease, by: Holder, code: int, *, standby: bool
) -> None:
    """A clone would take it over at once, and be lost in turn."""
    host.standby = standby
    await host.keeper.acquire()
    assert row.row
    row.row = replace(row.row, epoch=2, holder=replace(by, instance="another"))
    await host.live(10)
    [lost] = host.lost
    assert lost.code == code
    assert ("standby" in str(lost.remedy)) == (code == 6)


# ---- a cluster: its hosts hold one lease together ----


@pytest.fixture
def cluster(world: World, row: MemoryLease) -> list[Host]:
    return [Host(world, row, of_cluster("c1")) for _ in range(3)]


async def test_all_hosts_of_a_cluster_renew_one_lease(
    cluster: list[Host], row: MemoryLease
) -> None:
    for host in cluster:
        host.standby = True  # has no meaning there
        await host.keeper.acquire()
        assert (host.pauses, row.row and row.row.epoch) == ([], 1)
        assert host.keeper.fence is None
        assert host.keeper.lent_until is None
    await cluster[0].live(100)
    assert not cluster[0].lost
    assert cluster[1].keeper.why_barred(), "who does not renew it may write nothing"
    await cluster[1].tick()
    assert cluster[1].keeper.why_barred() is None
    assert row.row
    assert row.row.epoch == 1


async def test_a_host_that_ends_leaves_the_lease_to_the_others(
    cluster: list[Host], row: MemoryLease
) -> None:
    for host in cluster:
        await host.keeper.acquire()
    await cluster[0].keeper.release()
    assert row.row
    assert not row.row.released
    await cluster[1].live(10)
    assert (cluster[1].lost, cluster[1].keeper.why_barred()) == ([], None)


async def test_a_daemon_without_the_cluster_gives_up_while_a_host_of_it_lives(
    host: Host, cluster: list[Host], row: MemoryLease
) -> None:
    await cluster[0].keeper.acquire()

    def renew() -> None:
        assert row.row
        row.row = replace(row.row, renewed_at=row.now())

    host.meanwhile = renew
    with pytest.raises(InstanceHeldError, match="the cluster c1"):
        await host.keeper.acquire()
    assert host.keeper.why_barred()


async def test_a_daemon_without_the_cluster_begins_when_its_hosts_have_ended(
    host: Host, cluster: list[Host], row: MemoryLease
) -> None:
    await cluster[0].keeper.acquire()
    await cluster[0].keeper.release()
    await host.keeper.acquire()
    assert sum(host.pauses) == pytest.approx(75.0)
    assert row.row
    assert (row.row.epoch, row.row.holder) == (2, ME)


async def test_a_host_of_a_cluster_does_not_begin_while_another_daemon_lives(
    host: Host, cluster: list[Host], row: MemoryLease
) -> None:
    await host.keeper.acquire()

    def renew() -> None:
        assert row.row
        row.row = replace(row.row, renewed_at=row.now())

    cluster[0].meanwhile = renew
    with pytest.raises(InstanceHeldError, match="the waguard on alpha"):
        await cluster[0].keeper.acquire()
    await host.keeper.release()
    for one in cluster:
        await one.keeper.acquire()
    assert row.row
    assert (row.row.epoch, row.row.holder) == (2, of_cluster("c1"))


async def test_a_host_that_was_away_while_another_daemon_took_it_ends(
    host: Host, cluster: list[Host], row: MemoryLease
) -> None:
    await cluster[0].keeper.acquire()
    await host.keeper.acquire()
    await cluster[0].live(10)
    [lost] = cluster[0].lost
    assert "the waguard on alpha" in lost.message


@pytest.mark.parametrize("left", [None, 1])
async def test_a_cluster_keeps_its_lease_in_a_database_that_was_restored_from_a_copy(
    cluster: list[Host], row: MemoryLease, left: int | None
) -> None:
    await row.acquire(of_cluster("c1"), TERMS, lambda _: True, above=6)
    for host in cluster:
        await host.keeper.acquire()
    assert row.row
    row.row = None if left is None else replace(row.row, epoch=left)
    late = Host(cluster[0].world, row, of_cluster("c1"))
    if left is not None:  # one that begins at that moment
        await late.keeper.acquire()
    for host in (*cluster, late):
        await host.live(6)
    for host in cluster:
        assert (host.lost, host.keeper.why_barred()) == ([], None)


async def test_a_daemon_that_was_alone_goes_on_as_a_host_of_a_cluster_at_once(
    host: Host, row: MemoryLease
) -> None:
    """Its configuration was changed and it was restarted, with its workers left."""
    await host.keeper.acquire()
    again = Host(host.world, row, of_cluster("c1"), replace(ME, pid=9, instance="i9"))
    await again.keeper.acquire()
    assert (again.pauses, again.keeper.took_over) == ([], False)
    assert again.outages.why("events_left_behind") is None
    assert row.row
    assert (row.row.epoch, row.row.holder) == (2, of_cluster("c1"))
