"""Keys that all hosts accept: made and revoked on one, with the database and without it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest

from tests.api.conftest import Answer, Api
from tests.api.fake_cluster import Pair
from tests.clocks import Clock
from tests.waiting import wait_until
from waguard.api.deps import KEY_SHARING
from waguard.api.forwarding import CALLS
from waguard.api.key_table import IssuedKeys
from waguard.api.shared_keys import DATABASE, NOTICE
from waguard.core.issued_keys import IssuedKey, Wanted, digest
from waguard.core.keys import Caller, Right
from waguard.errors import DatabaseUnavailableError, UnavailableError
from waguard.host.memory import key_memory

CURRENT: Final = "/api/keys/current"
NOBODY: Final = "http://127.0.0.1:1"


async def made(api: Api, name: str = "shop", **wanted: Any) -> tuple[str, str]:
    """A new key, and its id."""
    answer = await api.call("POST", "/api/keys", {"name": name, "right": "read"} | wanted)
    assert answer.status == 201, answer.content
    return answer.json()["key"], answer.json()["about"]["id"]


async def revoked(api: Api, key_id: str) -> Answer:
    answer = await api.call("DELETE", f"/api/keys/{key_id}")
    assert answer.status == 200, answer.content
    return answer


async def status(api: Api, key: str) -> int:
    return (await api.call("GET", CURRENT, key=key)).status


async def read(api: Api) -> None:
    sharing: Any = api.app[KEY_SHARING]
    await sharing.beat()


def patient(api: Api) -> None:
    """It waits for others for as long as they take."""
    sharing: Any = api.app[KEY_SHARING]
    sharing._notified_within = sharing._written_within = 3_600.0


def restarted(api: Api, clock: Clock | None = None) -> IssuedKeys:
    """What another daemon reads from this one's file."""
    keys = IssuedKeys(api.deps.issued_keys._file.path, clock or api.clock)
    keys.load()
    return keys


async def test_a_key_is_made_for_all_and_revoked_for_all_at_once(hosts: Pair) -> None:
    key, key_id = await made(hosts.one)
    assert await status(hosts.two, key) == 200
    assert (await hosts.two.call("GET", CURRENT, key=key)).json()["name"] == "shop"
    answer = await revoked(hosts.two, key_id)
    assert answer.json()["not_yet"] == []
    assert await status(hosts.two, key) == await status(hosts.one, key) == 401
    listed = (await hosts.one.call("GET", "/api/keys")).json()["keys"]
    assert [(it["name"], it["ended_by"]) for it in listed] == [("shop", "the application")]


async def test_it_is_recorded_once(hosts: Pair) -> None:
    _, key_id = await made(hosts.one)
    await revoked(hosts.one, key_id)
    assert [it.before for it in hosts.one.store.entries] == [
        "POST /api/keys",
        "DELETE /api/keys/{key_id}",
    ]
    assert not hosts.two.store.entries


async def test_the_files_of_both_have_it(hosts: Pair) -> None:
    """So that it is valid there also where the database is away at a start, or the cluster is no more."""
    key, key_id = await made(hosts.one)
    for api in (hosts.one, hosts.two):
        await wait_until(lambda: restarted(api).find(key) is not None, "it is written")  # noqa: B023
        caller = restarted(api).find(key)
        assert caller is not None
        assert caller.key == key_id
    await revoked(hosts.one, key_id)
    assert all(restarted(api).find(key) is None for api in (hosts.one, hosts.two))


async def test_a_host_that_is_not_notified_reads_it(hosts: Pair) -> None:
    hosts.all.change("h2", address=NOBODY)
    key, key_id = await made(hosts.one)
    await wait_until(lambda: hosts.two.deps.issued_keys.find(key) is not None, "it is read")
    await revoked(hosts.one, key_id)
    await wait_until(lambda: hosts.two.deps.issued_keys.find(key) is None, "that, too")


async def test_hosts_that_do_not_answer_are_named(hosts: Pair) -> None:
    _, key_id = await made(hosts.one)
    hosts.all.add("h3", NOBODY)
    assert (await revoked(hosts.one, key_id)).json()["not_yet"] == ["h3"]


async def test_a_host_without_a_lease_may_serve_still(hosts: Pair) -> None:
    """But for one that was taken out in order."""
    key, key_id = await made(hosts.one)
    for name in ("h3", "h4"):
        hosts.all.add(name, NOBODY)
    for name in ("h2", "h3", "h4"):
        hosts.all.change(name, alive=False, drain=name == "h4")
    hosts.all.keys.away = True
    assert (await revoked(hosts.one, key_id)).json()["not_yet"] == ["h3", DATABASE]
    assert await status(hosts.two, key) == 401


# ---- the database is away ----


async def test_what_is_known_is_valid_and_none_is_made(hosts: Pair) -> None:
    key, _ = await made(hosts.one)
    hosts.all.keys.away = True
    assert await status(hosts.one, key) == await status(hosts.two, key) == 200
    refused = await hosts.one.call("POST", "/api/keys", {"name": "b", "right": "read"})
    assert refused.status == 503
    assert "no key is made while the database is away" in refused.json()["error"]
    assert "Retry-After" in refused.headers
    names = {it.name for it in restarted(hosts.one).governed(*EVERYTHING)}
    assert names == {"shop"}, "nor is it in the file"
    assert (await hosts.one.call("GET", "/api/keys")).status == 200


def lost_answers(hosts: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next key is written, and nobody hears so."""
    rows, exchange = hosts.all.keys, hosts.all.keys.exchange

    async def lost(decide: Callable[[Sequence[IssuedKey]], Sequence[IssuedKey]]) -> Any:
        await exchange(decide)
        monkeypatch.setattr(rows, "exchange", exchange)
        raise DatabaseUnavailableError("no answer to COMMIT")

    monkeypatch.setattr(rows, "exchange", lost)


async def test_a_key_that_was_written_without_an_answer_is_revoked(
    hosts: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has it."""
    lost_answers(hosts, monkeypatch)
    refused = await hosts.one.call("POST", "/api/keys", {"name": "shop", "right": "read"})
    assert refused.status == 503
    assert [it.ended_by for it in key_memory.read(hosts.one.deps.issued_keys._file.path)] == [
        "the application"
    ], "also where this host is started again"
    await read(hosts.one)
    assert [it.ended_by for it in hosts.all.keys.rows.values()] == ["the application"]


async def test_a_key_that_was_written_without_an_answer_is_made_when_it_is_repeated(
    hosts: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost_answers(hosts, monkeypatch)
    asked: Any = ("POST", "/api/keys", {"name": "shop", "right": "read"})
    assert (await hosts.one.call(*asked)).status == 503
    answer = await hosts.one.call(*asked)
    assert answer.status == 201, answer.content
    assert [it.name for it in hosts.all.keys.rows.values() if it.ended_at is None] == ["shop"]
    assert await status(hosts.two, answer.json()["key"]) == 200


async def test_a_key_whose_maker_is_cancelled_is_revoked(
    hosts: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at a stop of the daemon."""
    rows, exchange, written = hosts.all.keys, hosts.all.keys.exchange, asyncio.Event()

    async def hangs(decide: Callable[[Sequence[IssuedKey]], Sequence[IssuedKey]]) -> Any:
        await exchange(decide)
        written.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(rows, "exchange", hangs)
    wanted = Wanted(name="shop", right=Right.READ)
    making = asyncio.ensure_future(
        hosts.one.deps.issued_keys.create(EVERYTHING[0], wanted, EVERYTHING[1])
    )
    await written.wait()
    making.cancel()
    await asyncio.gather(making, return_exceptions=True)
    monkeypatch.setattr(rows, "exchange", exchange)
    await read(hosts.one)
    assert [it.ended_by for it in rows.rows.values()] == ["root"]


async def test_a_key_of_the_page_is_this_hosts_until_then(hosts: Pair) -> None:
    """Who looks at the page wants to know what is wrong with the database."""
    hosts.all.keys.away = True
    ticket = (await hosts.one.call("POST", "/api/keys/ticket", {})).json()["ticket"]
    shown = {"X-Ticket": ticket}
    answer = await hosts.one.call("POST", "/api/keys/exchange", key=None, headers=shown)
    assert answer.status == 201, answer.content
    key = answer.json()["key"]
    assert [await status(api, key) for api in (hosts.one, hosts.two)] == [200, 401]
    assert restarted(hosts.one).find(key)
    hosts.all.keys.away = False
    await read(hosts.one)
    await read(hosts.two)
    assert await status(hosts.two, key) == 200


EVERYTHING: Final[Any] = (Caller(name="root", right=Right.ADMIN), {})


async def test_what_is_revoked_is_refused_by_all_who_hear_it(hosts: Pair) -> None:
    key, key_id = await made(hosts.one)
    hosts.all.keys.away = True
    assert (await revoked(hosts.one, key_id)).json()["not_yet"] == [DATABASE]
    assert await status(hosts.one, key) == await status(hosts.two, key) == 401
    [row] = hosts.all.keys.rows.values()
    assert row.ended_at is None
    hosts.all.keys.away = False
    await read(hosts.one)
    await read(hosts.two)
    [row] = hosts.all.keys.rows.values()
    assert row.ended_by == "the application"
    assert await status(hosts.one, key) == await status(hosts.two, key) == 401


async def test_what_was_revoked_before_a_restart_is_written_after_it(hosts: Pair) -> None:
    key, key_id = await made(hosts.one)
    hosts.all.keys.away = True
    hosts.all.change("h2", address=NOBODY)
    assert (await revoked(hosts.one, key_id)).json()["not_yet"] == ["h2", DATABASE]
    assert await status(hosts.two, key) == 200, "it was not notified"
    # the next daemon, whose table still has it as valid
    hosts.one.deps.issued_keys.adopt(restarted(hosts.one).known)
    hosts.all.keys.away = False
    await read(hosts.one)
    await read(hosts.two)
    assert await status(hosts.two, key) == 401


# ---- races ----


async def test_one_name_on_two_hosts(hosts: Pair) -> None:
    """Of a key of which this host has not heard yet."""
    await made(hosts.one)
    hosts.two.deps.issued_keys.adopt({})
    again = await hosts.two.call("POST", "/api/keys", {"name": "shop", "right": "read"})
    assert (again.status, len(hosts.all.keys.rows)) == (409, 1)


async def test_a_revocation_of_a_key_that_only_the_table_has(hosts: Pair) -> None:
    key, key_id = await made(hosts.one)
    hosts.two.deps.issued_keys.adopt({})
    await revoked(hosts.two, key_id)
    assert await status(hosts.one, key) == 401


async def test_both_revoke_it(hosts: Pair) -> None:
    key, key_id = await made(hosts.one)
    await revoked(hosts.one, key_id)
    await revoked(hosts.two, key_id)
    assert await status(hosts.two, key) == 401


async def test_no_revocation_waits_for_a_key_that_is_made(
    hosts: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database hangs."""
    patient(hosts.one)
    key, key_id = await made(hosts.one)
    rows, goes_on = hosts.all.keys, asyncio.Event()
    exchange = rows.exchange

    async def hang(
        decide: Callable[[Sequence[IssuedKey]], Sequence[IssuedKey]],
    ) -> tuple[int, Sequence[IssuedKey]]:
        begun.set()
        await goes_on.wait()
        return await exchange(decide)

    begun = asyncio.Event()
    monkeypatch.setattr(rows, "exchange", hang)
    making = asyncio.create_task(made(hosts.one, "other"))
    await begun.wait()
    revoking = asyncio.create_task(revoked(hosts.one, key_id))
    await wait_until(lambda: hosts.two.deps.issued_keys.find(key) is None, "it is refused there")
    goes_on.set()
    await making
    assert (await revoking).json()["not_yet"] == []


async def test_a_revocation_does_not_wait_for_a_database_that_hangs(
    hosts: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it lost: the table has it later."""
    patient(hosts.one)
    sharing: Any = hosts.one.app[KEY_SHARING]
    sharing._written_within = 0.0
    key, key_id = await made(hosts.one)
    rows, goes_on = hosts.all.keys, asyncio.Event()
    keys = rows.keys

    async def hang() -> tuple[int, Sequence[IssuedKey]]:
        await goes_on.wait()
        return await keys()

    monkeypatch.setattr(rows, "keys", hang)
    assert (await revoked(hosts.one, key_id)).json()["not_yet"] == [DATABASE]
    assert await status(hosts.one, key) == await status(hosts.two, key) == 401
    [row] = rows.rows.values()
    assert row.ended_at is None
    goes_on.set()
    await wait_until(lambda: all(it.ended_at for it in rows.rows.values()), "the table has it")


async def test_what_is_revoked_while_the_table_is_written_is_written_next(
    hosts: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the writing under way has ended is no sign that the table has it."""
    sharing: Any = hosts.one.app[KEY_SHARING]
    (_, one), (other, _) = await made(hosts.one, "one"), await made(hosts.one, "other")
    await read(hosts.one)
    rows, begun, goes_on = hosts.all.keys, asyncio.Event(), asyncio.Event()
    exchange = rows.exchange

    async def hang(
        decide: Callable[[Sequence[IssuedKey]], Sequence[IssuedKey]],
    ) -> tuple[int, Sequence[IssuedKey]]:
        found = await exchange(decide)
        begun.set()
        await goes_on.wait()
        return found

    monkeypatch.setattr(rows, "exchange", hang)
    hosts.one.deps.issued_keys.end(hosts.one.deps.issued_keys.known[one], by="ani")
    writing = asyncio.create_task(sharing.read())
    await begun.wait()
    sharing.end(digest(other), "ani")  # another host has revoked it
    goes_on.set()
    await writing
    await read(hosts.one)
    assert all(it.ended_at for it in rows.rows.values())


async def test_two_that_make_keys_do_not_wait_for_each_other(hosts: Pair) -> None:
    """Each notifies the other one, which writes its file."""
    patient(hosts.one)
    async with hosts.two.deps.issued_keys._writing:
        key, _ = await made(hosts.one)
        assert await status(hosts.two, key) == 200
    await wait_until(lambda: restarted(hosts.two).find(key) is not None, "it is written")


async def test_a_host_that_hangs_keeps_no_file_from_being_written(hosts: Pair) -> None:
    patient(hosts.one)
    asked = asyncio.Event()

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await ended.wait()
        writer.close()

    ended = asyncio.Event()
    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        hosts.all.add("h3", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        making = asyncio.create_task(made(hosts.one))
        await asked.wait()
        async with hosts.one.deps.issued_keys._writing:
            ended.set()
        await making


# ---- what each had before ----


async def test_keys_of_before_are_everybodys(hosts: Pair) -> None:
    """A host that joins brings its own, and learns the others'."""
    hosts.all.keys.away = True
    keys = []
    for number, api in enumerate((hosts.one, hosts.two)):
        issued = api.deps.issued_keys
        issued.share, share = None, issued.share
        keys.append((await made(api, f"of-{number}"))[0])
        issued.share = share
    hosts.all.keys.away = False
    for api in (hosts.one, hosts.two, hosts.one):
        sharing: Any = api.app[KEY_SHARING]
        await sharing.read()
    assert [await status(api, key) for key in keys for api in (hosts.one, hosts.two)] == [200] * 4
    assert sorted(it.name for it in hosts.all.keys.rows.values()) == ["of-0", "of-1"]


async def test_the_last_use_of_all_hosts(hosts: Pair) -> None:
    key, _ = await made(hosts.one)
    hosts.two.clock.at += 100.0
    assert await status(hosts.two, key) == 200
    await hosts.two.call("GET", "/api/keys")
    [shown] = (await hosts.one.call("GET", "/api/keys")).json()["keys"]
    used = hosts.two.deps.issued_keys.known[shown["id"]].used_at
    assert used
    assert hosts.one.deps.issued_keys.known[shown["id"]].used_at == used


async def test_a_file_that_cannot_be_read_learns_nothing(hosts: Pair) -> None:
    """It may have revoked what the table has as valid."""
    key, _ = await made(hosts.one)
    issued = hosts.two.deps.issued_keys
    issued.adopt({})
    await issued.save()
    (issued._file.path).write_bytes(b"no keys")
    issued.load()
    sharing: Any = hosts.two.app[KEY_SHARING]
    await sharing.read()
    assert issued._file.path.read_bytes() == b"no keys"
    assert await status(hosts.two, key) == 503


async def test_a_reload_of_a_file_that_could_not_be_written_forgets_no_key(hosts: Pair) -> None:
    key, _ = await made(hosts.one)
    issued = hosts.two.deps.issued_keys
    await wait_until(lambda: issued.find(key), "it is known")
    key_memory.write(issued._file.path, ())
    issued.load()
    assert issued.find(key)


async def test_the_database_says_so(hosts: Pair) -> None:
    hosts.all.keys.away = True
    with pytest.raises(DatabaseUnavailableError):
        await read(hosts.one)
    assert key_memory.read(hosts.one.deps.issued_keys._file.path) == ()


async def test_hosts_alone_notify_of_keys(hosts: Pair, api: Api) -> None:
    """Who revokes a key is recorded, and does so by a route of its own, whatever its own key may do."""
    key, _ = await made(hosts.one)
    said = {"sha256": digest(key), "by": "ani"}
    for asked in (hosts.one, hosts.two, api):
        refused = await asked.call("POST", NOTICE, said)
        assert refused.status == 403
        assert "DELETE /api/keys/" in refused.json()["remedy"]
    assert await status(hosts.two, key) == 200
    with pytest.raises(UnavailableError, match="answered 400"):
        await hosts.one.app[CALLS].own("POST", NOTICE, hosts.two.base, {"sha256": "x"}, within=60.0)
