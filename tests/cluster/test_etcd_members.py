"""Three members of etcd that die, freeze and fall behind, and one that wants certificates and a login."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.cluster import etcd_servers
from tests.cluster.certificates import certificates
from tests.cluster.conftest import PATIENT
from tests.cluster.etcd_servers import Certificates, Member
from tests.cluster.test_contract import A, assert_unavailable, numbered, watching
from tests.config.configured import loaded
from tests.config.test_cluster import text
from tests.waiting import DEADLINE
from waguard.cluster.etcd import EtcdLeases, connect
from waguard.cluster.etcd_gateway import Login
from waguard.core.cluster.host_lease import LeaseTerms
from waguard.core.cluster.records import Found
from waguard.errors import EngineUnavailableError
from waguard.supervision.cluster.engine_calls import EngineCalls
from waguard.supervision.cluster.host_keeper import CALL_SHARE

pytestmark = pytest.mark.long


@pytest.fixture
def members() -> Iterator[Sequence[Member]]:
    with etcd_servers.etcd(3) as three:
        yield three


@pytest.fixture
async def leases_of() -> AsyncIterator[Callable[..., EtcdLeases]]:
    """Leases in these members."""
    async with AsyncExitStack() as stack:

        def made(*of: Member, deadline: float = PATIENT, login: Login | None = None) -> EtcdLeases:
            endpoints = [it.endpoint for it in of]
            leases = EtcdLeases(endpoints, "i", deadline=deadline, login=login)
            stack.push_async_callback(leases.close)
            return leases

        yield made


def leader_first(members: Sequence[Member]) -> list[Member]:
    states = [it.ask("maintenance/status") for it in members]
    found = [
        it
        for it, state in zip(members, states, strict=True)
        if state["leader"] == state["header"]["member_id"]
    ]
    return [*found, *(it for it in members if it not in found)]


async def test_a_keeper_hears_why_etcd_takes_no_write(
    members: Sequence[Member], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that comes after a keeper has given up is the one that says what to do."""
    monkeypatch.chdir(tmp_path)
    (it, *_), cluster = members, loaded(text(endpoints=[one.endpoint for one in members])).cluster
    leases, calls = connect(cluster, "i"), EngineCalls()
    within = CALL_SHARE * LeaseTerms(cluster.lasts).renewed_every
    alarm = {"alarm": "NOSPACE", "memberID": it.ask("maintenance/status")["header"]["member_id"]}
    it.ask("maintenance/alarm", action="ACTIVATE", **alarm)
    heard = ""
    async with asyncio.timeout(DEADLINE):
        while "database space exceeded" not in heard:
            with pytest.raises(EngineUnavailableError) as refused:
                await calls.answer(leases.put(A, 0), "put", within=within)
            heard = refused.value.message
    it.ask("maintenance/alarm", action="DEACTIVATE", **alarm)
    assert await renew(leases, 1, 0)
    await calls.end()
    await leases.close()


async def renew(leases: EtcdLeases, number: int, revision: int) -> int:
    """As an owner does it: where a write is refused, it reads whether it was written."""
    async with asyncio.timeout(DEADLINE):
        while True:
            with contextlib.suppress(EngineUnavailableError):
                if new := await leases.put(numbered(number), revision):
                    return new
                found = await leases.read("a")
                assert found
                assert found.record.number in {number, number - 1}
                revision = found.revision
                if found.record.number == number:
                    return revision


@pytest.mark.parametrize("dies", [True, False], ids=["killed", "frozen"])
async def test_a_leader_that_is_gone_loses_nothing(
    members: Sequence[Member],
    leases_of: Callable[..., EtcdLeases],
    dies: bool,  # noqa: FBT001 - of a table
) -> None:
    leader, *others = leader_first(members)
    leases, observer = leases_of(leader, *others, deadline=2.0), leases_of(*others)
    revision = await renew(leases_of(leader), 1, 0)
    with contextlib.ExitStack() as stack:
        for number in range(2, 30):
            if number == 10 and dies:
                leader.kill()
            elif number == 10:
                stack.enter_context(leader.frozen())
            revision = await renew(leases, number, revision)
            assert await observer.read("a") == Found(numbered(number), revision)


async def test_a_member_without_the_others_answers_nothing(
    members: Sequence[Member], leases_of: Callable[..., EtcdLeases]
) -> None:
    alone, *others = leader_first(members)
    assert await leases_of(alone).put(A, 0)
    leases = leases_of(alone, deadline=2.0)
    with others[0].frozen(), others[1].frozen():
        await assert_unavailable(leases.read("a"), leases.hosts(), leases.put(A, 0))
    assert await renew(leases, 2, 0)


async def test_a_member_of_another_etcd_counts_as_away(
    members: Sequence[Member], leases_of: Callable[..., EtcdLeases]
) -> None:
    with etcd_servers.etcd() as (foreign,):
        leases = leases_of(*members[:2], foreign, deadline=PATIENT)
        revision = await leases.put(A, 0)
        assert revision
        members[0].kill()
        for _ in range(6):
            assert await leases.read("a") == Found(A, revision), "the foreign one has none"
        elsewhere = leases_of(foreign, members[1], deadline=2.0)
        assert await elsewhere.hosts() == []
        foreign.kill()
        await assert_unavailable(elsewhere.read("a"))
        assert leases.cluster != elsewhere.cluster


async def test_a_member_that_stood_still_answers_with_what_the_others_wrote(
    members: Sequence[Member], leases_of: Callable[..., EtcdLeases]
) -> None:
    for _ in range(5):
        late, *others = leader_first(members)  # the one that leads believes that it still does
        behind, writer = leases_of(late, deadline=PATIENT), leases_of(*others, deadline=2.0)
        found = await behind.read("a")
        number, revision = (found.record.number, found.revision) if found else (0, 0)
        with late.frozen():
            for _ in range(3):
                number += 1
                revision = await renew(writer, number, revision)
        assert await behind.read("a") == Found(numbered(number), revision)


async def test_a_watch_survives_on_another_member(
    members: Sequence[Member], leases_of: Callable[..., EtcdLeases]
) -> None:
    leases = leases_of(*members, deadline=4.0)
    writer = leases_of(*members[1:], deadline=4.0)
    revision = await renew(writer, 1, 0)
    async with watching(leases.changes()) as changes:
        assert await anext(changes) == [Found(numbered(1), revision)]
        members[0].kill()
        await assert_unavailable(anext(changes))
    revision = await renew(writer, 2, revision)
    async with asyncio.timeout(DEADLINE):
        while True:
            with contextlib.suppress(EngineUnavailableError):
                async with watching(leases.changes()) as changes:
                    assert await anext(changes) == [Found(numbered(2), revision)]
                    break


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("foreign"))


@pytest.fixture(scope="module")
def encrypted(own: Certificates) -> Iterator[Member]:
    with etcd_servers.etcd(certificates=own) as (it,):
        yield it


@pytest.mark.parametrize(
    ("ca", "client", "good"),
    [
        ("own", "own", True),
        ("foreign", "own", False),
        ("own", "foreign", False),
        ("own", None, False),
        (None, "own", False),
    ],
)
async def test_both_sides_want_a_certificate_that_they_trust(
    encrypted: Member,
    ca: str | None,
    client: str | None,
    good: bool,  # noqa: FBT001 - of a table
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    keys: dict[str, str] = {}
    if ca:
        keys["ca_file"] = str(request.getfixturevalue(ca).ca)
    if client:
        theirs = request.getfixturevalue(client)
        keys |= {
            "certificate_file": str(theirs.client),
            "private_key_file": str(theirs.client_key),
        }
    leases = connect(loaded(text(endpoints=[encrypted.endpoint], **keys)).cluster, "i")
    try:
        if good:
            async with asyncio.timeout(DEADLINE):
                while not await _lists(leases):
                    pass
        else:
            await assert_unavailable(leases.hosts())
    finally:
        await leases.close()


async def _lists(leases: EtcdLeases) -> bool:
    """A busy machine may take longer than the deadline."""
    with contextlib.suppress(EngineUnavailableError):
        return await leases.hosts() == []
    return False


@pytest.fixture(params=["simple", "jwt"])
def closed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Member]:
    """One that wants a login as soon as somebody enables it; with both kinds of tokens."""
    (tmp_path / "signs").write_text("ab" * 32)
    jwt = f"jwt,priv-key={tmp_path / 'signs'},sign-method=HS256,ttl=10m"
    options = [f"--auth-token={jwt if request.param == 'jwt' else 'simple'}"]
    with etcd_servers.etcd(options=options) as (it,):
        it.ask("auth/user/add", name="root", password="root's")
        it.ask("auth/user/grant", user="root", role="root")
        it.ask("auth/user/add", name="waguard", password="se:same")
        it.ask("auth/role/add", name="waguard")
        folder = {"key": "d2FndWFyZC8=", "range_end": "d2FndWFyZDA="}  # waguard/ to waguard0
        it.ask("auth/role/grant", name="waguard", perm={"permType": "READWRITE", **folder})
        it.ask("auth/user/grant", user="waguard", role="waguard")
        it.ask("auth/user/add", name="guest", password="guest's")
        yield it


CHANGED: Final = {"name": "waguard", "password": "se:same"}


async def test_a_login_is_used_and_renewed(
    closed: Member, leases_of: Callable[..., EtcdLeases]
) -> None:
    login = Login("waguard", "se:same")
    before, during = leases_of(closed, login=login), leases_of(closed, login=login)
    first = await before.put(A, 0)  # nobody wants it yet
    assert first
    closed.ask("auth/enable")
    assert await during.read("a") == Found(A, first)
    second = await before.put(numbered(2), first)
    assert second
    root = leases_of(closed, login=Login("root", "root's"))._gateway
    for leases in (before, during):
        # also where it stays the same: who had logged in is forgotten
        await root.call("auth/user/changepw", CHANGED, dict)
        assert await leases.read("a") == Found(numbered(2), second)
        async with watching(leases.changes()) as changes:
            assert await anext(changes) == [Found(numbered(2), second)]
    async with watching(before.changes()) as changes:
        await anext(changes)
        third = await during.put(numbered(3), second)
        async with asyncio.timeout(DEADLINE):
            assert await anext(changes) == [Found(numbered(3), third or 0)]


@pytest.mark.parametrize(
    ("login", "words"),
    [
        (None, "user name is empty"),
        (Login("waguard", "another's"), "invalid user ID or password"),
        (Login("nobody", "se:same"), "invalid user ID or password"),
        (Login("guest", "guest's"), "permission denied"),
    ],
)
async def test_who_may_not_is_refused(
    closed: Member, leases_of: Callable[..., EtcdLeases], login: Login | None, words: str
) -> None:
    closed.ask("auth/enable")
    leases = leases_of(closed, login=login)
    for call in (leases.read("a"), leases.put(A, 0)):
        with pytest.raises(EngineUnavailableError) as refused:
            await call
        assert words in refused.value.message
        assert refused.value.field == "cluster.user_file"
    await assert_unavailable(leases.hosts())
