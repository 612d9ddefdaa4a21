"""What each database says of sessions' proxies, and who may write it."""

import pytest

from tests.store.conftest import BACKENDS
from waguard.core.lease import Holder, Terms
from waguard.core.proxy import Recorded
from waguard.errors import DatabaseUnavailableError
from waguard.store.sql import SqlStore

A = Holder(machine="m1", runtime="/run/a", host="alpha", pid=7, instance="i7")
SEALED = Recorded(mark="0e" * 8, at=1_790_000_000.25, sealed=bytes(range(256)))


@pytest.mark.parametrize("database", BACKENDS, indirect=True)
async def test_what_is_recorded_is_read_and_replaced(store: SqlStore) -> None:
    its = store.proxies
    assert await its.recorded() == {}
    for _ in range(2):
        await its.record("s", SEALED)
    await its.record("S", Recorded(mark="", at=1.5))
    assert await its.recorded() == {"s": SEALED, "S": Recorded(mark="", at=1.5)}
    await its.record("s", Recorded(mark="other", at=2.5))
    assert await its.recorded() == {
        "s": Recorded(mark="other", at=2.5),
        "S": Recorded(mark="", at=1.5),
    }


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_host_that_lost_the_lease_records_nothing(store: SqlStore) -> None:
    async def nothing() -> None:
        """Nobody has to be waited for."""

    epoch = await store.lease.acquire(A, Terms(lasts=9, renewed_every=1), lambda _: True)
    assert epoch
    fence = [epoch]
    store.guard(before_migration=nothing, fence=lambda: fence[0])
    await store.proxies.record("s", SEALED)
    fence[0] -= 1
    with pytest.raises(DatabaseUnavailableError):
        await store.proxies.record("s", Recorded(mark="", at=1.5))
    assert await store.proxies.recorded() == {"s": SEALED}
