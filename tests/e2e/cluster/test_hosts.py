"""Several hosts, as far as one machine can be several: each session runs once, whatever ends or stands still."""

import asyncio
import signal
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cluster.etcd_servers import Member
from tests.e2e.cluster.conftest import (
    ETCD_POSTGRESQL,
    ROWS_MARIADB,
    ROWS_POSTGRESQL,
    THREE_ETCD_MARIADB,
    Pair,
    on,
)
from tests.e2e.cluster.trial import LEASE, OWNED_WITHIN, Trial, has_logged, signal_all, trial
from tests.e2e.conftest import World
from tests.e2e.harness import Daemon
from tests.store.conftest import new_database
from tests.store.servers import Server

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.chromium,
    pytest.mark.long,
    pytest.mark.timeout(600),
]

AWAY: Final = 30.0  # s
PERSON: Final = "6281180990"


async def is_shown(host: Daemon, kind: str) -> bool:
    code, found = await host.call("GET", "/health/detailed")
    return code == 200 and kind in {it["type"] for it in found["conditions"]}


async def is_over(host: Daemon, kind: str) -> bool:
    return not await is_shown(host, kind)


ENDS: Final = {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP}
GONE: Final = [
    (ETCD_POSTGRESQL, "killed"),
    (THREE_ETCD_MARIADB, "killed, its workers stopped"),
    (ROWS_POSTGRESQL, "killed whole"),
    (ROWS_MARIADB, "stopped"),
    (THREE_ETCD_MARIADB, "stopped whole"),
]


@pytest.mark.parametrize(("pair", "how"), GONE, ids=str)
async def test_the_sessions_of_a_host_that_is_gone_are_owned_by_the_others(
    two: Trial, how: str
) -> None:
    first, second = two.hosts
    assert first.process
    held, before = await two.of(first), await two.epochs()
    assert held == ["s0", "s1"]
    daemon, *others = two.tree(first)
    began = time.monotonic()
    if "workers stopped" in how:
        signal_all(others, signal.SIGSTOP)
    pids = [daemon, *others] if "whole" in how else [daemon]
    signal_all(pids, ENDS[how.replace(",", "").split(maxsplit=1)[0]])
    try:
        await two.all_owned_by(second)
        owned = time.monotonic() - began
        await two.all_connected()
        print(f"{how}: owned after {owned:.1f} s, connected {time.monotonic() - began:.1f} s")
        assert owned < OWNED_WITHIN
        assert await is_shown(second, "host_missing")
    finally:
        signal_all([daemon, *others], signal.SIGCONT)
    if "killed" in how:
        await first.process.wait()
        await first.start()
    # it comes back as another incarnation, without a session, and its workers are gone
    await first.logs("event=host_lease_acquired", 2)
    await second.until(lambda: is_over(second, "host_missing"))
    assert await two.of(first) == []
    assert set(two.ends(first)) <= {"24", "-9", "null", "None"}, "no orderly end after the loss"
    epochs = await two.epochs()
    assert all(epochs[it] == before[it] + 1 for it in held)
    rows = await two.query("SELECT session_id, status FROM whatsapp_accounts")
    assert {status for _, status in rows} == {"connected"}, "nothing was written by the lost one"


@on(THREE_ETCD_MARIADB)
async def test_the_sessions_of_a_dead_host_are_spread_over_the_others(
    request: pytest.FixtureRequest,
    world: World,
    pair: Pair,
    settings: Mapping[str, str],
    tmp_path: Path,
) -> None:
    url = await new_database(pair.database, request, tmp_path)
    async with trial(world, url, settings, tmp_path, hosts=3) as three:
        await three.spread(4, 0, 0)
        first, *others = three.hosts
        assert await three.of(first) == three.sessions
        pids = three.tree(first)
        began = time.monotonic()
        signal_all(pids, signal.SIGKILL)
        await three.all_owned_by(*others)
        owned = time.monotonic() - began
        assert owned < OWNED_WITHIN
        await three.all_connected()
        print(f"owned after {owned:.1f} s, connected {time.monotonic() - began:.1f} s")
        assert sorted([len(await three.of(host)) for host in others]) == [2, 2]


@on(ETCD_POSTGRESQL)
async def test_an_engine_that_is_away_for_longer_than_the_lease_moves_nothing(
    two: Trial, members: Sequence[Member]
) -> None:
    (member,) = members
    before = await two.owners()
    began = time.monotonic()
    with member.frozen():
        await two.hosts[0].until(lambda: is_shown(two.hosts[0], "engine_away"))
        for host in two.hosts:
            await host.until(partial(is_shown, host, "host_without_lease"))
            await host.logs("event=session_released", 2)
        closed = time.monotonic() - began
        assert two.referee.sees_none()
        await asyncio.sleep(AWAY - closed)
        assert await two.owners() == before
    began = time.monotonic()
    await two.all_connected()
    print(f"closed after {closed:.1f} s, connected {time.monotonic() - began:.1f} s after")
    assert closed < LEASE
    assert await two.owners() == before
    for host in two.hosts:
        assert two.ends(host) == {"0": 2}, "in order"
        assert not has_logged(host, "host_declared_dead")
        assert not await is_shown(host, "engine_away")


@on(ETCD_POSTGRESQL)
async def test_an_engine_that_stands_still_for_a_moment_costs_nothing(
    two: Trial, members: Sequence[Member]
) -> None:
    (member,) = members
    before = [await two.workers(host) for host in two.hosts]
    with member.frozen():
        await asyncio.sleep(LEASE / 3)
    await asyncio.sleep(LEASE * 1.5)
    assert [await two.workers(host) for host in two.hosts] == before


@on(ETCD_POSTGRESQL, THREE_ETCD_MARIADB)
async def test_while_the_database_is_away_nothing_ends_and_nothing_moves(
    two: Trial, pair: Pair, request: pytest.FixtureRequest
) -> None:
    before = [await two.workers(host) for host in two.hosts]
    server: Server = request.getfixturevalue(pair.database)
    with server.frozen():
        await asyncio.sleep(AWAY)
    for host in two.hosts:
        await host.until(partial(is_over, host, "database_down"))
        assert not two.ends(host)
    assert [await two.workers(host) for host in two.hosts] == before


@on(ETCD_POSTGRESQL, ROWS_MARIADB)
async def test_a_restart_of_a_daemon_ends_nothing_and_moves_nothing(two: Trial) -> None:
    first, second = two.hosts
    before = [await two.workers(host) for host in two.hosts]
    assert await first.stop(signal.SIGUSR2) == 0
    await asyncio.sleep(2)
    await first.start()
    await two.all_connected()
    await asyncio.sleep(LEASE * 1.5)  # what the earlier daemon lent would be over
    assert [await two.workers(host) for host in two.hosts] == before
    assert not has_logged(second, "host_declared_dead")
    assert not two.ends(first)


@on(ETCD_POSTGRESQL)
async def test_a_daemon_is_restarted_while_the_database_is_away(
    two: Trial, pair: Pair, request: pytest.FixtureRequest
) -> None:
    first = two.hosts[0]
    before = await two.workers(first)
    server: Server = request.getfixturevalue(pair.database)
    with server.frozen():
        assert first.process
        first.process.send_signal(signal.SIGKILL)
        await first.process.wait()
        await first.start(ready=False)
        await first.logs("event=worker_greeted", 2)
        await asyncio.sleep(LEASE * 1.5)
        assert not two.ends(first)
    await two.all_connected()
    assert await two.workers(first) == before


@on(ETCD_POSTGRESQL)
async def test_a_daemon_that_stops_before_it_knows_its_sessions_gives_nothing_up(
    two: Trial, pair: Pair, request: pytest.FixtureRequest
) -> None:
    """Its workers live until what was lent to them is over: nobody may claim them before."""
    first, second = two.hosts
    server: Server = request.getfixturevalue(pair.database)
    with server.frozen():
        assert first.process
        first.process.send_signal(signal.SIGKILL)
        await first.process.wait()
        await first.start(ready=False)
        await first.logs("event=worker_greeted", 2)
        assert await first.stop() == 0
    await two.all_owned_by(second)
    assert has_logged(second, "host_declared_dead")
    await two.all_connected()
    await first.start()


@on(THREE_ETCD_MARIADB, ROWS_POSTGRESQL)
async def test_a_drain_moves_sessions_in_order_and_a_stop_leaves_them_at_once(two: Trial) -> None:
    first, second = two.hosts
    began = time.monotonic()
    code, found = await first.call("POST", "/api/hosts/h0/drain")
    assert code == 200, found
    await two.all_owned_by(second)
    await two.all_connected()
    print(f"drained and connected after {time.monotonic() - began:.1f} s")
    assert two.ends(first) == {"0": 2}
    assert await first.stop() == 0
    await asyncio.sleep(LEASE * 1.5)
    assert not await is_shown(second, "host_missing"), "it was taken out in order"
    await first.start()
    _, found = await first.call("GET", "/api/hosts")
    assert {it["host"]: it["drain"] for it in found["hosts"]} == {"h0": True, "h1": False}
    assert (await first.call("DELETE", "/api/hosts/h0/drain"))[0] == 200
    began = time.monotonic()
    assert await second.stop() == 0
    await two.all_owned_by(first)
    print(f"a stop took {time.monotonic() - began:.1f} s until all were owned")
    await two.all_connected()
    assert not has_logged(first, "host_declared_dead")
    assert two.ends(second) == {"0": 4}
    await second.start()


def has_body(body: str, data: dict[str, Any]) -> bool:
    return bool(data["message"]["body"] == body)


async def pass_messages(two: Trial, hosts: Sequence[Daemon], words: str) -> None:
    """One message to each session, and one from it by each of the hosts: each arrives once."""
    standin, receiver = two.world.standin, two.world.receiver
    for number, session in enumerate(two.sessions):
        phone = f"62811800{number:03}"
        for host in hosts:
            said = f"{words} by h{two.hosts.index(host)}"
            code, sent = await host.send(session, PERSON, said)
            assert code == 200, sent
            known = [it["body"] for it in standin.phone.messages(phone) if it["direction"] == "out"]
            assert known.count(said) == 1
        standin.phone.incoming(phone=phone, from_=PERSON, body=f"{words} to {session}")
    for session in two.sessions:
        body = f"{words} to {session}"
        got = await receiver.wait_for("message_received", where=partial(has_body, body))
        assert got["session_id"] == session


@on(ETCD_POSTGRESQL, ROWS_MARIADB)
async def test_messages_pass_by_any_host_also_after_a_move_and_a_death(two: Trial) -> None:
    first, second = two.hosts
    await pass_messages(two, two.hosts, "at first")
    code, found = await second.call("POST", "/api/sessions/s0/move", {"to": "h1"})
    assert code == 200, found
    await second.until(lambda: is_owned(two, "s0", "h1"))
    await two.all_connected()
    await pass_messages(two, two.hosts, "after a move")
    assert first.process
    signal_all(two.tree(first), signal.SIGKILL)
    await first.process.wait()
    later = {"session_id": "s1", "recipient_phone": PERSON, "message": "for later", "queue": True}

    async def is_kept() -> bool:
        # as long as the dead host counts as alive, nobody knows whether it still accepts something
        return (await second.call("POST", "/api/messages/send", later))[0] == 202

    await second.until(is_kept)
    await two.all_owned_by(second)
    await two.all_connected()
    await pass_messages(two, [second], "after a death")
    known = [it["body"] for it in two.world.standin.phone.messages("62811800001")]
    assert known.count("for later") == 1
    bodies = [
        it["data"]["message"]["body"]
        for it in two.world.receiver.received
        if it["event"] == "message_received"
    ]
    assert len(bodies) == len(set(bodies)), "none was delivered twice"
    await first.start()


async def is_owned(two: Trial, session: str, host: str) -> bool:
    return (await two.owners())[session] == host


@on(ETCD_POSTGRESQL)
async def test_a_second_machine_with_the_name_of_a_host_ends(
    two: Trial, settings: Mapping[str, str]
) -> None:
    first, second = two.hosts
    assert await second.stop() == 0
    await two.all_owned_by(first)
    second.settings = {**second.settings, "WAGUARD_CLUSTER__HOST": "h0"}
    await second.spawn()
    assert second.process
    async with asyncio.timeout(90):
        assert await second.process.wait() == 3
    assert has_logged(second, "another machine has the name h0")
    await two.all_connected()
    assert len(await two.of(first)) == 4
