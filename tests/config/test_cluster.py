"""The section of a cluster: what belongs together, and what each engine needs."""

import socket
from collections.abc import Mapping
from typing import Any, Final

import pytest

from tests.config.configured import loaded, refusal
from waguard.config.sections import Config

SERVER: Final = '[database]\nurl = "postgresql+asyncpg://me:sesame@db/wa"\n'
NEEDED: Final[Mapping[str, Any]] = {
    "engine": "etcd",
    "endpoints": ["https://etcd1:2379"],
    "host": "a",
    "address": "http://10.0.0.1:3001",
    "key_file": "shared-key",
}


def text(before: str = SERVER, **keys: Any) -> str:
    """A configuration with all that etcd needs, but for what is given; None: left out."""
    merged = {key: value for key, value in {**NEEDED, **keys}.items() if value is not None}
    lines = [f"{key} = {value!r}" for key, value in merged.items()]
    return "\n".join([before, "[cluster]", *lines])


def with_keys(**keys: Any) -> Config:
    return loaded(text(**keys))


@pytest.mark.parametrize(
    ("field", "shown", "allowed", "given"),
    [
        ("cluster.engine", "'zookeeper'", "etc/waguard.toml", text(engine="zookeeper")),
        ("cluster.engine", "'etcd'", "use PostgreSQL or MariaDB", text(before="")),
        ("cluster.engine", "'database'", "SQLite", text(before="", engine="database")),
        ("cluster.endpoints", "[]", "https://etcd1", text(endpoints=None)),
        ("cluster.endpoints", "'etcd1:2379'", "https://etcd1", text(endpoints=["etcd1:2379"])),
        ("cluster.endpoints", "not shown", "https://", text(endpoints=["https://me:x@etcd1"])),
        (
            "cluster.endpoints",
            "'http://etcd2'",
            "cluster.ca_file",
            text(endpoints=["https://etcd1", "http://etcd2"], ca_file="ca"),
        ),
        ("cluster.private_key_file", "None", "both", text(certificate_file="c")),
        ("cluster.certificate_file", "None", "both", text(private_key_file="k")),
        ("cluster.host", "'a:7'", "letters", text(host="a:7")),
        ("cluster.host", "…", "64", text(host="h" * 300)),
        ("cluster.address", "''", "http://host:3001", text(address=None)),
        ("cluster.address", "0.0.0.0", "http://host", text(address="http://0.0.0.0:3001")),
        ("cluster.address", "?x", "http://host", text(address="http://h:3001/?x")),
        ("cluster.key_file", "None", "openssl", text(key_file=None)),
        ("cluster.lease", "7.0", "8.0", text(lease=7.0)),
        ("cluster.max_sessions", "-1", "0", text(max_sessions=-1)),
        ("lease.standby", "True", "cluster.engine", text(SERVER + "[lease]\nstandby = true")),
        ("database.key_file", "not shown", "cluster.key_file", text(SERVER + "key_file = 'k'")),
    ],
)
def test_what_does_not_fit_is_refused(field: str, shown: str, allowed: str, given: str) -> None:
    error = refusal(given)
    assert error.field == field
    assert shown in error.line()
    assert allowed in error.line()
    assert error.remedy
    assert "sesame" not in error.line()


def test_without_an_engine_nothing_else_matters() -> None:
    config = loaded(text(before="", engine="none", address=None, key_file=None, host=None))
    assert config.cluster.host == ""
    standby = SERVER + "key_file = 'k'\n[lease]\nstandby = true"
    assert loaded(text(standby, engine="none")).lease.standby


def test_the_database_needs_nothing_of_etcd() -> None:
    assert with_keys(engine="database", endpoints=None, certificate_file="c").cluster.lasts == 60


def test_the_lease_is_as_long_as_the_engine_needs_or_as_it_is_given() -> None:
    assert with_keys().cluster.lasts == 10
    assert with_keys(lease=20.0).cluster.lasts == 20
    assert with_keys(engine="database", lease=8.0).cluster.lasts == 8


def test_a_host_is_called_as_its_machine() -> None:
    assert with_keys(host=None).cluster.host == socket.gethostname()


def test_nothing_stands_behind_an_address() -> None:
    cluster = with_keys(address="http://h:3001/", endpoints=["http://[::1]:2379/"]).cluster
    assert (cluster.address, cluster.endpoints) == ("http://h:3001", ("http://[::1]:2379",))
