"""Keepers of several hosts on an engine that is late, away, or answers nothing; a referee sees no session twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final

import pytest

from tests.supervision.cluster.engine import Engine, EngineLine
from tests.supervision.cluster.hosts import TERMS, Cluster, Host, Rows, now
from waguard.core.cluster.conditions import HOST_MISSING
from waguard.core.cluster.records import Owner
from waguard.errors import (
    ConflictError,
    EngineUnavailableError,
    NotFoundError,
    UnavailableError,
)
from waguard.supervision.cluster.hosts_here import HostsHere
from waguard.supervision.cluster.owner_calls import DROPPED_EVERY

pytestmark = pytest.mark.virtual_time

FAILOVER: Final = 15.0  # s until a dead host's sessions run elsewhere
Begin = Callable[..., Awaitable[Cluster]]


@asynccontextmanager
async def begun(*names: str, sessions: int, capacity: int = 100) -> AsyncIterator[Cluster]:
    cluster = Cluster(*names, sessions=sessions, capacity=capacity)
    async with AsyncExitStack() as stack:
        for host in cluster.hosts:
            await host.start()
            stack.push_async_callback(host.stop)
        watching = asyncio.create_task(cluster.watch())
        await cluster.until(lambda: cluster.run, within=30)
        try:
            yield cluster
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
    assert cluster.overlaps == []


async def test_sessions_are_spread_and_each_runs_on_its_owner() -> None:
    async with begun("a", "b", "c", sessions=12) as cluster:
        assert [len(host.running) for host in cluster.hosts] == [12, 0, 0]  # b and c came later


async def test_a_host_that_is_full_leaves_the_rest_to_others() -> None:
    async with begun("a", "b", "c", sessions=12, capacity=4) as cluster:
        assert [len(host.running) for host in cluster.hosts] == [4, 4, 4]


async def test_the_sessions_of_a_dead_host_are_claimed_by_others_within_15_s() -> None:
    async with begun("a", "b", "c", sessions=9, capacity=5) as cluster:
        a, *others = cluster.hosts
        for host in others:
            host.capacity = 20
        held = set(a.running)
        assert held
        await a.crash()
        took = await cluster.until(lambda: cluster.moved_from("a"), within=FAILOVER)
        assert took > TERMS.lent_for, "its workers lived until then"
        assert {it for host in others for it in host.log.dead} == {"a"}
        a.boot()
        await a.start()
        assert a.happened[-2:] == ["kill all", "sweep"]
        assert not a.running


async def test_the_sessions_of_a_dead_host_are_claimed_together_but_those_that_are_held() -> None:
    async with begun("a", "b", sessions=30) as cluster:
        a, b = cluster.hosts
        assert len(a.running) == 30
        cluster.rows.held = set(sorted(a.running)[:3])
        cluster.rows.together.clear()
        await a.crash()
        await cluster.until(lambda: cluster.moved_from("a"), within=FAILOVER)
        assert cluster.rows.together == [30]
        assert len(b.log.claims) == len({session for session, _ in b.log.claims}) == 30


async def test_a_host_that_is_cut_off_from_the_engine_closes_before_others_claim() -> None:
    async with begun("a", "b", sessions=4) as cluster:
        a, b = cluster.hosts
        assert len(a.running) == 4
        a.line.cut = True
        await cluster.until(lambda: not a.running, within=TERMS.lent_for)
        assert "close all" in a.happened
        assert not b.running
        await cluster.until(lambda: len(b.alive) == 4, within=FAILOVER)
        a.line.cut = False
        await cluster.until(lambda: a.keeper.is_held, within=10)
        assert a.happened[-2:] == ["kill all", "sweep"]


@pytest.mark.parametrize("away", ["cut", "refused"])
async def test_an_engine_that_is_away_for_longer_than_the_lease_moves_nothing(away: str) -> None:
    async with begun("a", "b", sessions=6, capacity=3) as cluster:
        before = {session: cluster.owner_of(session) for session in cluster.rows.sessions}
        for host in cluster.hosts:
            setattr(host.line, away, True)
        await cluster.until(
            lambda: not any(host.running for host in cluster.hosts), within=TERMS.lasts
        )
        assert all("close all" in host.happened for host in cluster.hosts)
        await asyncio.sleep(30)
        for host in cluster.hosts:
            setattr(host.line, away, False)
        await cluster.until(lambda: cluster.run, within=10)
        assert {it: cluster.owner_of(it) for it in cluster.rows.sessions} == before
        assert not any(host.log.dead for host in cluster.hosts)


async def test_an_engine_that_is_away_for_a_moment_costs_nothing() -> None:
    async with begun("a", "b", sessions=4) as cluster:
        for host in cluster.hosts:
            host.line.cut = True
        await asyncio.sleep(3)
        for host in cluster.hosts:
            host.line.cut = False
        await asyncio.sleep(30)
        assert not any("close all" in host.happened for host in cluster.hosts)


async def test_answers_that_are_lost_or_late_do_not_cost_the_lease() -> None:
    async with begun("a", "b", sessions=4) as cluster:
        a = cluster.hosts[0]
        for fault in ("unheard", "lost", "0.7", "3.0", "unheard", "5.5", "lost"):
            a.line.next_puts.append(fault)
            await cluster.until(lambda: not a.line.next_puts, within=10)
            await asyncio.sleep(2)
        await asyncio.sleep(15)
        assert a.happened == ["sweep"]
        assert a.keeper.is_held


async def test_a_watch_that_breaks_is_begun_again_and_reads_take_its_place() -> None:
    async with begun("a", "b", sessions=2) as cluster:
        a, b = cluster.hosts
        await b.line.break_watch()
        await cluster.until(lambda: b.line.watches > 1, within=5)
        b.line.stale = True  # it reports nothing any more, and is not broken
        await a.crash()
        await cluster.until(lambda: b.log.dead == ["a"], within=FAILOVER + 6)
        await cluster.until(
            lambda: cluster.run, within=10
        )  # the next read, 2.5 renewals and a pause later


async def test_whether_the_list_of_hosts_was_read() -> None:
    """The own lease in what is seen does not say so."""
    async with begun("a", "b", sessions=1) as cluster:
        a, _ = cluster.hosts
        await a.stop()
        a.boot()
        a.line.unlisted = True
        await a.start()
        assert [it.record.host for it in a.keeper.seen()] == ["a"]
        assert not a.keeper.is_list_read
        a.line.unlisted = False
        await cluster.until(lambda: a.keeper.is_list_read, within=10)
        assert [it.record.host for it in a.keeper.seen()] == ["a", "b"]


async def test_the_next_daemon_of_a_host_goes_on_with_what_runs() -> None:
    async with begun("a", "b", sessions=4) as cluster:
        a, b = cluster.hosts
        before, kept = dict(a.running), a.kept
        await asyncio.sleep(TERMS.renewed_every * 0.9)
        began = now()
        await a.stop(hands_over=True)
        assert all(until >= began + TERMS.lent_for for until in a.running.values()), (
            "the next daemon has all of the time"
        )
        await asyncio.sleep(3)
        a.boot()
        await a.start()
        await asyncio.sleep(20)
        assert a.running.keys() == before.keys() == a.alive
        assert (a.kept, a.happened, b.running) == (kept, ["sweep"], {})
        assert all(cluster.rows.rows[it].epoch == 2 for it in before)


async def test_a_handover_waits_for_no_engine_that_refuses() -> None:
    """For example the database that was closed before."""
    async with begun("a", sessions=1) as cluster:
        (a,) = cluster.hosts
        a.line.refused = True
        began = now()
        await a.stop(hands_over=True)
        assert now() < began + a.keeper.within
        a.boot()
        a.line.refused = False
        await a.start()


async def test_a_daemon_that_died_is_followed_by_one_that_adopts() -> None:
    async with begun("a", "b", sessions=4) as cluster:
        a, b = cluster.hosts
        kept = a.kept
        await a.crash()
        await asyncio.sleep(3)
        await a.start()
        await asyncio.sleep(20)
        assert len(a.alive) == 4
        assert (a.kept, a.happened, b.running) == (kept, ["sweep"], {})


async def test_who_finds_its_own_record_dead_kills_what_runs_and_begins_a_new_life() -> None:
    async with begun("a", sessions=4) as cluster:
        a, before = cluster.hosts[0], cluster.hosts[0].kept
        await cluster.engine.declare_dead("a")
        await cluster.until(lambda: a.kept != before and a.keeper.is_held, within=5)
        assert "kill all" in a.happened
        assert cluster.engine.of("a").incarnation == a.kept
        await cluster.until(lambda: cluster.run, within=5)


async def test_two_machines_with_one_name_end() -> None:
    async with begun("a", sessions=1) as cluster:
        twin = Host("a", cluster.engine, cluster.rows)
        starting = asyncio.create_task(twin.start())
        await cluster.until(lambda: bool(twin.exits), within=30)
        assert "another machine has the name a" in twin.exits[0]
        assert not twin.running
        starting.cancel()
        await twin.keeper.end(gives_up=True)
        assert cluster.hosts[0].keeper.is_held


async def test_after_a_reboot_the_record_of_before_is_replaced_when_it_is_over() -> None:
    async with begun("a", "b", sessions=2) as cluster:
        a = cluster.hosts[0]
        await a.crash()
        a.running.clear()
        a.kept = None
        began = now()
        await a.start()
        assert now() - began == pytest.approx(TERMS.dead_after, abs=3)
        assert a.exits == []


async def test_while_the_database_is_away_nothing_ends_and_nobody_claims() -> None:
    async with begun("a", "b", "c", sessions=6, capacity=3) as cluster:
        a, b, c = cluster.hosts
        for host in (b, c):
            host.capacity = 20
        cluster.rows.down = True
        await asyncio.sleep(30)
        assert cluster.run
        await a.crash()
        await asyncio.sleep(30)
        assert a.alive == set()
        assert not any("lost" in it or "released" in it for it in b.happened + c.happened)
        cluster.rows.down = False
        await cluster.until(lambda: cluster.run, within=10)


async def test_a_host_that_ends_in_order_leaves_its_sessions_at_once() -> None:
    async with begun("a", "b", sessions=4) as cluster:
        a, b = cluster.hosts
        began = now()
        await a.stop()
        await cluster.until(lambda: len(b.alive) == 4, within=5)
        print(f"moved within {now() - began:.1f} s")
        record = cluster.engine.of("a")
        assert (record.alive, record.drain, record.owned) == (False, True, 0)
        assert b.log.dead == []
        a.boot()
        await a.start()


async def test_a_drain_moves_sessions_in_order_and_claims_nothing() -> None:
    async with begun("a", "b", sessions=5) as cluster:
        a, b = cluster.hosts
        await a.people.drain(end=False)
        await cluster.until(lambda: len(b.alive) == 5, within=30)
        assert sorted(a.happened) == sorted(["sweep", *(f"released s{it}" for it in range(5))])
        assert cluster.engine.of("a").drain
        cluster.rows.sessions.add("s9")
        await cluster.until(lambda: "s9" in b.alive, within=10)
        await a.people.drain(end=True)
        await cluster.until(lambda: not cluster.engine.of("a").drain, within=5)


async def test_a_host_whose_disk_takes_nothing_is_emptied() -> None:
    """A reason to empty it."""

    async def full(drained: bool) -> None:  # noqa: FBT001 - as it is called
        raise OSError(28, "No space left on device", str(drained))

    async with begun("a", "b", sessions=2) as cluster:
        a, b = cluster.hosts
        a.people = HostsHere(a.keeper, a.owners, keep_drain=full)
        with pytest.raises(UnavailableError, match="until this daemon ends"):
            await a.people.drain(end=False)
        await cluster.until(lambda: len(b.alive) == 2, within=30)


async def test_a_session_is_moved_to_the_host_that_somebody_names() -> None:
    async with begun("a", "b", "c", sessions=2) as cluster:
        a, b, c = cluster.hosts
        await a.people.move("s0", "c")
        await cluster.until(lambda: "s0" in c.alive, within=5)
        with pytest.raises(UnavailableError, match="does not own"):
            await a.people.move("s0", "b")
        with pytest.raises(NotFoundError, match="no such host"):
            await a.people.move("s1", "d")
        with pytest.raises(ConflictError, match="already"):
            await a.people.move("s1", "a")
        b.capacity = 0
        await cluster.until(lambda: cluster.engine.of("b").room == 0, within=5)
        await asyncio.sleep(1)
        with pytest.raises(ConflictError, match="has no room"):
            await a.people.move("s1", "b")
        b.capacity = 100
        await cluster.until(lambda: cluster.engine.of("b").room > 0, within=5)
        await asyncio.sleep(10)
        assert "s1" in a.alive, "what was refused is not done later"


async def test_nothing_is_moved_while_the_database_is_away_or_elsewhere_at_the_same_time() -> None:
    async with begun("a", "b", "c", sessions=1) as cluster:
        a = cluster.hosts[0]
        cluster.rows.down = True
        await cluster.until(lambda: a.people.view().without_owner is None, within=10)
        with pytest.raises(UnavailableError, match="database"):
            await a.people.move("s0", "b")
        cluster.rows.down = False
        await cluster.until(lambda: a.people.view().without_owner == 0, within=10)
        assert a.alive == {"s0"}
        a.refuses.add("s0")
        for _ in range(2):
            await a.people.move("s0", "b")
        with pytest.raises(UnavailableError, match="being moved"):
            await a.people.move("s0", "c")


async def test_a_move_of_what_cannot_leave_is_given_up_and_may_be_asked_for_again() -> None:
    async with begun("a", "b", sessions=1) as cluster:
        a, b = cluster.hosts
        a.refuses.add("s0")
        await a.people.move("s0", "b")
        await asyncio.sleep(30)
        assert a.alive == {"s0"}, "it is lent its time meanwhile"
        a.refuses.clear()
        await asyncio.sleep(30)
        assert a.alive == {"s0"}, "nobody expects it any more"
        await a.people.move("s0", "b")
        await cluster.until(lambda: b.alive == {"s0"}, within=5)


async def test_a_drain_goes_on_beside_what_cannot_leave_and_asks_it_again() -> None:
    async with begun("a", "b", sessions=5) as cluster:
        a, b = cluster.hosts
        a.refuses |= {"s0", "s1"}
        await a.people.drain(end=False)
        await cluster.until(lambda: b.alive == {"s2", "s3", "s4"}, within=20)
        assert a.alive == {"s0", "s1"}
        a.refuses.clear()
        await cluster.until(lambda: len(b.alive) == 5, within=60)


async def test_what_cannot_leave_ends_with_the_lease_all_the_same() -> None:
    async with begun("a", "b", sessions=1) as cluster:
        a, b = cluster.hosts
        a.refuses.add("s0")
        await a.people.move("s0", "b")
        await asyncio.sleep(5)
        a.line.cut = True
        await cluster.until(lambda: a.happened[-1] == "lost s0", within=TERMS.lent_for)
        await cluster.until(lambda: b.alive == {"s0"}, within=FAILOVER)


async def test_what_cannot_be_brought_up_is_tried_again() -> None:
    async with begun("a", "b", sessions=3) as cluster:
        a, b = cluster.hosts
        b.failures = 3
        await a.stop()
        await cluster.until(lambda: len(b.alive) == 3, within=15)
        assert b.failures == 0
        a.boot()
        await a.start()


async def test_a_session_that_admission_holds_back_goes_to_a_host_with_room() -> None:
    async with begun("a", "b", sessions=2) as cluster:
        a, b = cluster.hosts
        a.not_admitted_here.add("s1")
        await cluster.until(lambda: b.alive == {"s1"}, within=5)


@pytest.mark.parametrize("how", ["restarted", "rebooted"])
async def test_a_drained_host_stays_drained_until_somebody_ends_that(how: str) -> None:
    async with begun("a", "b", sessions=4, capacity=4) as cluster:
        a, b = cluster.hosts
        await a.people.drain(end=False)
        await cluster.until(lambda: cluster.moved_from("a"), within=20)
        if how == "restarted":
            await a.stop(hands_over=True)
        else:
            await a.crash()
            a.kept = None
        a.boot()
        a.keeper.begin(a.line, adopts=a.kept)
        await a.keeper.held()
        assert a.record("i", 1).drain, "the others know it before this one knows its sessions"
        await a.keeper.end(gives_up=False)
        a.boot()
        await a.start()
        cluster.rows.sessions.add("new")
        b.capacity = 4
        await asyncio.sleep(30)
        assert cluster.owner_of("new") is None
        await a.people.drain(end=True)
        await cluster.until(lambda: cluster.owner_of("new") == "a", within=5)
        assert not a.drained


async def test_a_session_is_created_on_the_host_that_is_asked() -> None:
    async with begun("a", "b", sessions=1) as cluster:
        a, b = cluster.hosts
        await b.ownership.create("new")
        assert b.ownership.epoch("new") == 1
        assert cluster.owner_of("new") == "b"
        await b.ownership.create("new")  # again: it is its own
        with pytest.raises(UnavailableError, match="another host"):
            await b.ownership.create("s0")
        cluster.rows.rows["old"] = Owner(session="old", host=None, incarnation=None, epoch=7)
        await a.ownership.create("old")  # the row of a session that was deleted
        await a.people.drain(end=False)
        with pytest.raises(UnavailableError, match="emptied"):
            await a.ownership.create("other")
        b.line.cut = True
        await cluster.until(lambda: not b.keeper.is_held, within=10)
        with pytest.raises(UnavailableError, match="lease"):
            await b.ownership.create("other")


async def test_the_rows_of_deleted_sessions_are_removed() -> None:
    async with begun("a", sessions=2) as cluster:
        a = cluster.hosts[0]
        cluster.rows.sessions.discard("s1")
        await asyncio.sleep(3)
        assert "s1" in cluster.rows.rows, "it is in memory"
        a.running.pop("s1")
        await cluster.until(lambda: "s1" not in cluster.rows.rows, within=2 * DROPPED_EVERY)
        await cluster.until(lambda: a.ownership.epoch("s1") is None, within=5)


async def test_a_dead_host_is_forgotten_and_a_living_one_is_not() -> None:
    async with begun("a", "b", sessions=2, capacity=4) as cluster:
        a, b = cluster.hosts
        for name in ("a", "b"):
            with pytest.raises(ConflictError, match="lives"):
                await a.people.forget(name)
        with pytest.raises(NotFoundError):
            await a.people.forget("c")
        await b.crash()
        await cluster.until(lambda: HOST_MISSING in a.log.shown, within=FAILOVER)
        a.line.refused = True
        with pytest.raises(EngineUnavailableError):
            await a.people.forget("b")
        a.line.refused = False
        await a.people.forget("b")
        await cluster.until(lambda: HOST_MISSING not in a.log.shown, within=5)
        assert [it.record.host for it in a.people.view().hosts] == ["a"]
        await cluster.until(lambda: cluster.moved_from("b"), within=5)
        # started again it is one of the hosts, and what it left is ended first
        b.boot()
        await b.start()
        assert b.happened[-1] == "sweep"
        await cluster.until(lambda: len(a.people.view().hosts) == 2, within=5)


async def test_a_living_host_delivers_what_a_deleted_session_has_left() -> None:
    """Until all of it is delivered, through the death of its host and a restart; it needs no room."""
    async with begun("a", "b", sessions=2, capacity=1) as cluster:
        a, b = cluster.hosts
        assert b.alive == {"s1"}
        cluster.rows.undelivered.add("s1")
        cluster.rows.sessions.discard("s1")
        b.running.pop("s1")
        await asyncio.sleep(3 * DROPPED_EVERY)
        assert b.ownership.epoch("s1") == 1
        assert b.owners.load == set(), "nothing of it runs"
        await b.crash()
        await cluster.until(lambda: cluster.owner_of("s1") == "a", within=FAILOVER)
        await cluster.until(lambda: "acquired s1" in a.happened, within=5)
        await a.crash()
        await a.start()
        await cluster.until(lambda: a.ownership.epoch("s1") == 3, within=5)
        assert a.alive == {"s0"}
        cluster.rows.undelivered.clear()
        await cluster.until(lambda: "s1" not in cluster.rows.rows, within=2 * DROPPED_EVERY)
        await cluster.until(lambda: a.ownership.epoch("s1") is None, within=5)


async def test_others_know_where_a_session_is() -> None:
    async with begun("a", "b", sessions=1) as cluster:
        a, b = cluster.hosts
        await cluster.until(lambda: b.ownership.address("s0") == "http://a", within=5)
        assert a.ownership.address("s0") is None
        seen = b.people.view()
        assert [it.record.host for it in seen.hosts] == ["a", "b"]
        assert all(it.renewed_ago < TERMS.renewed_every + 1 for it in seen.hosts)
        assert seen.without_owner == 0
        assert all(TERMS.lasts / 2 < it.lease_left <= TERMS.lasts for it in seen.hosts)
        assert (a.people.owner("s0"), b.people.owner("s0")) == ("a", "a")
        assert b.people.owner("s1") is None
        assert b.people.unowned() == {}
        cluster.rows.down = True
        await asyncio.sleep(3)
        assert b.people.view().without_owner is None
        assert b.people.unowned() is None
        await a.crash()
        await cluster.until(lambda: b.ownership.address("s0") is None, within=FAILOVER)


async def test_why_a_session_has_no_host_is_known_while_it_has_none() -> None:
    async with begun("a", "b", sessions=1) as cluster:
        a, b = cluster.hosts
        b.capacity = 0
        await a.crash()
        await cluster.until(lambda: bool(b.people.unowned()), within=FAILOVER)
        [(session, it)] = (b.people.unowned() or {}).items()
        assert (session, it.why) == ("s0", "its host a is down; no host has room for it")
        await cluster.until(lambda: {"no_room", "host_missing"} <= b.log.shown, within=25)
        b.capacity = 5
        await cluster.until(lambda: cluster.run, within=10)
        await cluster.until(lambda: b.log.shown == {"host_missing"}, within=5)


async def test_hosts_that_are_configured_otherwise_differ_until_they_are_alike() -> None:
    async with begun("a", "b", sessions=1) as cluster:
        a, b = cluster.hosts
        a.configured = b.configured = {"webhook.url": "0123"}
        await cluster.until(lambda: cluster.engine.of("b").settings != {}, within=5)
        assert not a.log.shown
        b.configured = {"webhook.url": "4567"}
        differ = {"hosts_differ"}
        await cluster.until(lambda: a.log.shown == differ == b.log.shown, within=10)
        a.configured = {"webhook.url": "4567"}
        await cluster.until(lambda: not a.log.shown | b.log.shown, within=10)


async def test_a_bug_in_what_a_host_says_or_sweeps_does_not_end_its_renewals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with begun("a", sessions=1) as cluster:
        a, record, sweep, calls = cluster.hosts[0], Host.record, Host.sweep, []

        def odd(self: Host, incarnation: str, number: int) -> object:
            calls.append("record")
            if len(calls) < 3:
                raise RuntimeError
            return record(self, incarnation, number)

        async def odd_sweep(self: Host) -> str:
            calls.append("sweep")
            if calls.count("sweep") < 3:
                raise RuntimeError
            return await sweep(self)

        monkeypatch.setattr(Host, "record", odd)
        await cluster.until(lambda: len(calls) > 4, within=20)
        assert a.keeper.is_held
        monkeypatch.setattr(Host, "sweep", odd_sweep)
        await cluster.engine.declare_dead("a")
        await cluster.until(lambda: "kill all" in a.happened, within=5)
        await cluster.until(lambda: cluster.run, within=20)


@pytest.mark.parametrize("duty", ["lend", "kill_all", "close_all"])
async def test_a_bug_in_a_duty_ends_neither_the_others_nor_the_renewals(
    duty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with begun("a", sessions=1) as cluster:
        a, real, calls = cluster.hosts[0], getattr(Host, duty), []

        def odd(self: Host, *given: float) -> None:
            calls.append(duty)
            real(self, *given)
            raise RuntimeError

        monkeypatch.setattr(Host, duty, odd)
        if duty == "kill_all":
            await cluster.engine.declare_dead("a")
        elif duty == "close_all":
            a.line.cut = True
        await cluster.until(lambda: bool(calls), within=20)
        a.line.cut = False
        writes = cluster.engine.writes
        await cluster.until(lambda: cluster.engine.writes > writes + 5, within=30)
        await cluster.until(lambda: cluster.run, within=20)


async def test_a_bug_in_a_release_leaves_no_session_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether its row was written is unknown: what is still this host's is claimed again."""
    async with begun("a", "b", sessions=1) as cluster:
        a, b = cluster.hosts

        async def odd(*_: object, **__: object) -> bool:
            raise RuntimeError

        with monkeypatch.context() as broken:
            broken.setattr(Rows, "release", odd)
            await a.people.move("s0", "b")
            await cluster.until(lambda: "released s0" in a.happened, within=5)
            await asyncio.sleep(1)
        await cluster.until(lambda: b.alive == {"s0"} or a.alive == {"s0"}, within=10)


async def test_a_host_that_goes_to_another_cluster_begins_there_without_what_runs() -> None:
    async with begun("a", sessions=2) as cluster:
        a, before = cluster.hosts[0], cluster.hosts[0].kept
        other = Engine()
        await a.keeper.end(gives_up=False)
        a.line = EngineLine(other)
        a.keeper.begin(a.line, adopts=None)
        await cluster.until(lambda: cluster.run and a.kept != before, within=20)
        assert a.happened[-1] == "sweep" or "lost s0" in a.happened
        assert other.of("a").incarnation == a.kept


@pytest.mark.parametrize("stops", [False, True])
async def test_what_ends_in_order_has_its_time_while_the_lease_is_held(*, stops: bool) -> None:
    async with begun("a", "b", sessions=2) as cluster:
        a, b = cluster.hosts
        a.closes_in = 2 * TERMS.lasts
        ending = asyncio.create_task(
            a.owners.end(releases=True, within=3 * TERMS.lasts)
            if stops
            else a.people.drain(end=False)
        )
        await asyncio.sleep(1.5 * TERMS.lasts)
        assert a.alive == {"s0", "s1"}, "none was killed in the middle of its end"
        await ending
        await cluster.until(lambda: len(b.alive) == 2, within=30)
        assert {it for it in a.happened if "s" in it} >= {"released s0", "released s1"}


async def test_a_stop_waits_for_no_session_that_does_not_leave() -> None:
    """Nor for one that was leaving already."""
    async with begun("a", "b", sessions=3) as cluster:
        a, _ = cluster.hosts
        a.closes_in = 1_000.0
        await a.people.move("s0", "b")
        await asyncio.sleep(1)
        began = now()
        await a.owners.end(releases=True, within=3.0)
        assert now() - began == pytest.approx(3.0, abs=0.5)
        a.running.clear()


async def test_what_ends_in_order_is_lent_nothing_after_the_lease() -> None:
    async with begun("a", "b", sessions=1) as cluster:
        a = cluster.hosts[0]
        a.closes_in = 3 * TERMS.lasts
        await a.people.drain(end=False)
        await asyncio.sleep(1)
        a.line.cut = True
        await cluster.until(lambda: not a.keeper.is_held, within=TERMS.lasts)
        a.line.cut = False
        await cluster.until(lambda: not a.alive, within=TERMS.lasts)


async def test_a_session_that_is_created_is_brought_up_before_it_is_said_to_be_owned() -> None:
    async with begun("a", sessions=1) as cluster:
        a = cluster.hosts[0]
        a.failures = 2
        await a.ownership.create("new")
        assert "acquired new" in a.happened
        a.failures = 100
        creating = asyncio.create_task(a.ownership.create("other"))
        await asyncio.sleep(1)
        cluster.rows.sessions.add("other")
        with pytest.raises(UnavailableError, match="not read yet"):
            await creating
        a.failures = 0
        await cluster.until(lambda: "acquired other" in a.happened, within=10)
