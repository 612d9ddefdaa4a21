"""Shared credentials on each database: parts and claims, and who may write them."""

import pytest

from tests.store.conftest import BACKENDS
from waguard.core.lease import Holder, Terms
from waguard.core.replace import replace
from waguard.core.shipping import Claim, Note, Part
from waguard.errors import DatabaseUnavailableError
from waguard.store.sql import SqlStore

A = Holder(machine="m1", runtime="/run/a", host="alpha", pid=7, instance="i7")
CLAIM = Claim(
    note=Note("a" * 32, 7),
    pairing="token",
    sealed=bytes(range(256)),
    sealed_epoch=7,
    shipped_at=1_790_000_000.25,
    orderly=True,
)


def part(file: str, number: int, content: bytes = b"\0\xff") -> Part:
    return Part(file=file, number=number, epoch=7, sealed=content)


@pytest.mark.parametrize("database", BACKENDS, indirect=True)
async def test_parts_and_claims_are_written_and_read(store: SqlStore) -> None:
    its = store.credentials
    assert await its.claim("s") is None
    assert await its.shipped() == set()
    await its.commit("s", replace(CLAIM, sealed=None))
    assert await its.shipped() == set()
    await its.put("s", [part("f", 0), part("f", 1), part("g", 0)])
    await its.commit("s", CLAIM, [part("f", 2, b"z" * 70_000)])
    await its.commit("S", replace(CLAIM, orderly=False), [part("f", 0, b"another session's")])
    assert await its.claim("s") == CLAIM
    assert await its.shipped() == {"s", "S"}
    assert [it.number for it in await its.parts("s", "f", 9)] == [0, 1, 2]
    assert await its.parts("s", "f", 1) == [part("f", 0)]
    # what an attempt left that was cut off is replaced, and all after it
    await its.put("s", [part("f", 1, b"again")])
    assert await its.parts("s", "f", 9) == [part("f", 0), part("f", 1, b"again")]
    await its.commit("s", CLAIM, gone=["f", *map(str, range(1_200))])
    assert await its.files("s") == {"g"}
    assert await its.files("S") == {"f"}


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_host_that_lost_the_lease_ships_nothing(store: SqlStore) -> None:
    async def nothing() -> None:
        """Nobody has to be waited for."""

    epoch = await store.lease.acquire(A, Terms(lasts=9, renewed_every=1), lambda _: True)
    assert epoch
    fence = [epoch]
    store.guard(before_migration=nothing, fence=lambda: fence[0])
    await store.credentials.commit("s", CLAIM, [part("f", 0)])
    fence[0] -= 1
    for write in (
        store.credentials.put("s", [part("f", 1)]),
        store.credentials.commit("s", replace(CLAIM, sealed=None), gone=["f"]),
    ):
        with pytest.raises(DatabaseUnavailableError, match="another daemon"):
            await write
    assert await store.credentials.claim("s") == CLAIM
    assert await store.credentials.files("s") == {"f"}
