"""The owners of sessions, on every database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.store.application import SqlApplication
from tests.store.conftest import BACKENDS
from tests.store.hosts import SERVERS, Host, created, hosts
from waguard.core.cluster.records import Owner
from waguard.core.messages.inbox import EventPayload, InboxRecord, Kind
from waguard.core.webhooks.pending import delivered
from waguard.errors import NotOwnedError, SessionIdTakenError
from waguard.ports.webhooks import Endpoint

RECEIVED = InboxRecord(
    session_id="s1",
    workspace_id=1,
    key="m1",
    kind=Kind.MESSAGE,
    at=1.0,
    chat="49170@c.us",
    events=(EventPayload("message_received", {"message": {"id": "m1"}}),),
)
every_database = pytest.mark.parametrize("ready", BACKENDS, indirect=True)


@pytest.fixture
async def pair(ready: str) -> AsyncIterator[tuple[Host, Host]]:
    async with hosts(ready, 2) as (first, second):
        yield first, second


@every_database
async def test_a_session_of_the_applications_has_no_owner_until_one_claims_it(
    ready: str, pair: tuple[Host, Host]
) -> None:
    first, _ = pair
    await SqlApplication(ready).insert("s1", 1, status="connected")
    await SqlApplication(ready).insert("meta", 1, status="connected", provider_type="meta")
    assert await first.store.owners().owners() == [
        Owner(session="s1", host=None, incarnation=None, epoch=0)
    ]
    [nobody] = await first.store.owners().owners()
    claims = (host.store.owners().claim(nobody, host.name, "i") for host in pair)
    epochs = await asyncio.gather(*claims)
    assert sorted(epochs, key=str) == [1, None]
    seen = await first.owner("s1")
    assert (seen.host, seen.epoch, seen.to_host) == (f"h{epochs.index(1)}", 1, None)
    assert seen.moved_at is not None


@every_database
async def test_each_change_is_read_and_what_has_not_changed_is_not(
    ready: str, pair: tuple[Host, Host]
) -> None:
    first, second = pair
    application = SqlApplication(ready)
    owners, others = first.store.owners(), second.store.owners()

    async def deleted_by_the_application() -> None:
        await application.run("DELETE FROM whatsapp_accounts WHERE session_id = 's3'")

    changes: list[Callable[[], Awaitable[object]]] = [
        lambda: created(second, "s1"),
        lambda: application.insert("s2", 1),
        lambda: second.claim("s2"),
        lambda: others.release("s2", 1, to_host=None),
        lambda: created(second, "s3"),
        deleted_by_the_application,
        lambda: others.drop(["s3"]),
        lambda: second.store.soft_delete("s1"),
    ]
    before = await owners.owners()
    for change in changes:
        await change()
        found = await owners.owners()
        assert found != before
        assert found == await second.store.owners().owners(), "as one reads it for the first time"
        if not ready.startswith("sqlite"):  # which no cluster has
            assert await owners.owners() is found
        before = found
    await application.insert("meta", 1, provider_type="meta")
    assert await owners.owners() == before


@every_database
async def test_a_claim_is_of_the_epoch_that_was_seen(ready: str, pair: tuple[Host, Host]) -> None:
    first, second = pair
    await created(first, "s1")
    seen = await second.owner("s1")
    assert await second.store.owners().claim(seen, "h1", "1 of h1") == 2
    assert await first.store.owners().claim(seen, "h0", "1 of h0") is None
    found = await first.owner("s1")
    assert (found.host, found.incarnation, found.epoch) == ("h1", "1 of h1", 2)


@every_database
async def test_many_are_claimed_at_once_but_those_that_have_moved_or_have_no_row(
    ready: str, pair: tuple[Host, Host]
) -> None:
    first, second = pair
    for name in ("s1", "s2", "s3"):
        await created(first, name)
    await SqlApplication(ready).insert("s4", 1)
    seen = [it for it in await second.store.owners().owners() if it.session != "s3"]
    assert await second.claim("s2") == 2
    assert await second.store.owners().claim_free(seen, "h1", "1 of h1") == {"s1": 2}
    found = [(it.host, it.epoch) for it in await first.store.owners().owners()]
    assert found == [("h1", 2), ("h1", 2), ("h0", 1), (None, 0)]
    assert (await first.owner("s1")).incarnation == "1 of h1"


@pytest.mark.parametrize("ready", SERVERS, indirect=True)
async def test_what_is_claimed_with_others_waits_for_nobody(
    ready: str, pair: tuple[Host, Host]
) -> None:
    """So many that a server may read the whole table."""
    first, second = pair
    names = [f"s{number:02}" for number in range(30)]
    for name in names:
        await created(first, name)
    seen = await second.store.owners().owners()
    async with first.store._database.writing() as work:
        assert not await work.lost(["s07"])
        epochs = await second.store.owners().claim_free(seen, "h1", "1 of h1")
    assert epochs == {name: 2 for name in names if name != "s07"}
    assert await second.store.owners().claim_free(seen, "h1", "1 of h1") == {"s07": 2}


@every_database
async def test_where_what_is_held_cannot_be_left_out_none_is_claimed_at_once(
    ready: str, pair: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = pair
    await created(first, "s1")
    monkeypatch.setattr("waguard.store.owners.skips_locked", lambda _: False)
    seen = await second.store.owners().owners()
    assert await second.store.owners().claim_free(seen, "h1", "1 of h1") == {}
    assert (await second.owner("s1")).epoch == 1


@every_database
async def test_an_owner_releases_its_own_alone_and_says_for_whom(
    ready: str, pair: tuple[Host, Host]
) -> None:
    first, second = pair
    await created(first, "s1")
    owners = first.store.owners()
    assert not await owners.release("s1", 7, to_host=None)
    assert await owners.release("s1", 1, to_host="h1")
    released = await second.owner("s1")
    assert (released.host, released.incarnation, released.epoch) == (None, None, 1)
    assert released.to_host == "h1"
    assert await second.claim("s1") == 2
    assert not await owners.release("s1", 1, to_host=None)
    assert (await first.owner("s1")).to_host is None


@every_database
async def test_only_what_is_no_session_any_more_is_dropped(
    ready: str, pair: tuple[Host, Host]
) -> None:
    first, _ = pair
    for name in ("s1", "s2", "s3"):
        await created(first, name)
    await first.store.soft_delete("s2")
    await SqlApplication(ready).run("DELETE FROM whatsapp_accounts WHERE session_id = 's3'")
    await first.store.owners().drop(["s3", "s1", "s2", "s4"])
    rows = await SqlApplication(ready).rows("SELECT session_id FROM waguard_owners")
    assert [row["session_id"] for row in rows] == ["s1"]


@every_database
async def test_a_deleted_session_keeps_its_owner_until_its_webhooks_are_delivered(
    ready: str, pair: tuple[Host, Host]
) -> None:
    first, second = pair
    await created(first, "s1")
    await first.store.messages.put_endpoint(
        Endpoint(session_id="s1", url="http://receiver.test", secret=None)
    )
    await first.store.messages.write([RECEIVED], for_global=())
    await first.store.soft_delete("s1")
    owners = second.store.owners()
    await owners.drop(["s1"])
    [left] = await owners.owners()
    assert (left.session, left.host, left.epoch, left.deleted) == ("s1", "h0", 1, True)
    assert await second.claim("s1") == 2
    [pending], _ = await second.store.messages.pending("s1", after=0, limit=9)
    written = await second.store.messages.write([], [delivered(pending)])
    assert written.unrecorded == frozenset()
    assert await second.store.messages.pending("s1", after=0, limit=9) == ([], {})
    await owners.drop(["s1"])
    assert await owners.owners() == []


@every_database
async def test_of_two_hosts_that_create_a_session_at_once_one_owns_it(
    ready: str, pair: tuple[Host, Host]
) -> None:
    """Each believes that nobody owns it; the other one has created nothing."""
    for number in range(5):
        name = f"s{number}"
        outcomes = await asyncio.gather(
            *(created(host, name) for host in pair), return_exceptions=True
        )
        [failed] = [it for it in outcomes if it is not None]
        assert isinstance(failed, NotOwnedError)
        winner = pair[outcomes.index(None)]
        assert (await winner.owner(name)).host == winner.name
        row = await winner.store.session(name)
        assert row
        assert row.generation == 1


@every_database
async def test_who_owns_it_creates_it_again_and_a_refused_one_has_no_owner(
    ready: str, pair: tuple[Host, Host]
) -> None:
    first, second = pair
    with pytest.raises(NotOwnedError):  # it was not asked whether it may
        await first.store.create("s1", 1, account_id=None, priority=0)
    await created(first, "s1")
    await first.store.leave("s1", removed=True)
    again = await first.store.create("s1", 1, account_id=None, priority=0)
    assert (again.generation, (await first.owner("s1")).epoch) == (3, 1)
    with pytest.raises(NotOwnedError):
        await second.store.create("s1", 1, account_id=None, priority=0)
    await SqlApplication(ready).insert("s2", 2)
    with pytest.raises(SessionIdTakenError):
        await created(second, "s2")
    assert (await second.owner("s2")).epoch == 0
