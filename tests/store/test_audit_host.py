"""Which host has recorded an entry of the audit log."""

import pytest

from tests.store.conftest import BACKENDS
from tests.store.hosts import nothing
from waguard.core.cluster.records import Owning
from waguard.core.incidents.changes import CHANGE
from waguard.ports.store import AuditEntry
from waguard.store import audit
from waguard.store.sql import SqlStore

ENTRY = AuditEntry(session_id="a", kind=CHANGE, at=1.0)
OWNING = Owning(host="h1", incarnation="i", epochs={})


@pytest.mark.parametrize("database", BACKENDS, indirect=True)
async def test_the_host_of_a_cluster_is_recorded(store: SqlStore) -> None:
    await store.record(ENTRY)
    store.guard(before_migration=nothing, owning=lambda: OWNING)
    for again in (False, True, True):
        await store.record(ENTRY, again=again)
    found = await store.changes(since=0.0, before=None, limit=9)
    assert [it.host for _, it in found] == ["h1", None]


def test_one_host_alone_writes_what_it_always_wrote() -> None:
    assert "host" not in audit.values(ENTRY, 1.0, None)
