"""The parts of a host in a cluster, before it holds its lease."""

from types import SimpleNamespace
from typing import Any

import pytest

from waguard.daemon.cluster import Cluster
from waguard.errors import ConfigError


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
