"""The parts of a host in a cluster, before it holds its lease."""

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from waguard.daemon.cluster import Cluster
from waguard.daemon.restore_loop import RestoreLoop
from waguard.errors import ConfigError, InstanceHeldError


def test_a_cluster_whose_engine_cannot_be_connected_is_tried_again() -> None:
    def connect(_: str) -> None:
        raise ConfigError("the certificate cannot be read", field="cluster.ca")

    it: Any = object.__new__(Cluster)
    it._duties, it._engine = SimpleNamespace(cluster_id=""), SimpleNamespace(connect=connect)
    with pytest.raises(ConfigError):
        it._begin("c1", adopts=None)
    assert it._duties.cluster_id == "", (
        "else the next try would wait for a lease that nobody asks for"
    )


async def test_a_lease_that_could_not_be_resumed_is_resumed_at_the_next_try() -> None:
    """Its workers live by it, and would not be adopted."""
    failures, ends = [OSError("Too many open files")], list[InstanceHeldError]()

    def resume() -> None:
        if failures:
            raise failures.pop()
        raise InstanceHeldError("it was resumed")

    async def opened() -> None:
        raise InstanceHeldError("it was opened")

    async def checked() -> None:
        pass

    it: Any = object.__new__(RestoreLoop)
    it._leftovers, it._installation = (
        SimpleNamespace(workers=list),
        SimpleNamespace(check_folder=checked),
    )
    it._left_behind, it._state = None, Path("/nonexistent")
    it._greeted = lambda _: contextlib.nullcontext()
    it._cluster, it._store = SimpleNamespace(resume=resume), SimpleNamespace(open=opened)
    it._stop = SimpleNamespace(lose_database=lambda error, **_: ends.append(error))
    it._outages, it._retry = SimpleNamespace(update=lambda *_: None), (0.0,)
    await it.run()
    assert [str(end) for end in ends] == ["it was resumed"]
