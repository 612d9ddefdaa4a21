"""The doctor and two real APIs of a cluster: each fault is made, found, and comes with its remedy."""

import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.api.conftest import serving
from tests.api.fake_cluster import SHARED_KEY, Pair, pair
from tests.doctor.host import require_runnable
from tests.ports import reserved_port
from waguard.config.sections import Cluster
from waguard.core.replace import replace
from waguard.doctor.checks import hosts as checks
from waguard.doctor.checks.hosts import Host
from waguard.doctor.probes import hosts as probes
from waguard.doctor.report import Check, Cli, Result

HERE = Cluster(engine="database", key_file=Path("shared-key"))


@pytest.fixture
async def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    monkeypatch.setattr(probes, "read_key", lambda path, field: SHARED_KEY)
    async with pair(serving, tmp_path) as made:
        for it in made.hosts.values():
            it.secrets = {"api.key_file": b"a key", "webhook.secret_file": b"a secret"}
        yield made


async def seen(both: Pair) -> list[Host]:
    listed = (await both.one.call("GET", probes.LISTED)).json()
    found = await probes.hosts(HERE, listed)
    assert found
    return found


def evaluated(found: Sequence[Host] | None) -> list[Check]:
    made = checks.hosts(found, Cli())
    for it in made:
        require_runnable(it.command)
        assert it.remedy or it.result in {Result.OK, Result.SKIPPED}
    return made


def one(found: Sequence[Check], result: Result, words: str) -> None:
    fitting = [it for it in found if words in it.seen]
    assert [it.result for it in fitting] == [result], found


async def test_hosts_that_are_alike(both: Pair) -> None:
    found = await seen(both)
    assert [(it.host, it.answers, it.status) for it in found] == [
        ("h1", "h1", 200),
        ("h2", "h2", 200),
    ]
    [check] = evaluated(found)
    assert check.seen == "h1, h2: each answers here, and what must be alike is"
    both.all.change("h2", alive=False)
    assert [it.host for it in await seen(both)] == ["h1"], "the daemon itself reports dead ones"
    [check] = evaluated(await probes.hosts(HERE, None))
    assert check.result is Result.SKIPPED


async def test_a_host_that_cannot_be_reached(both: Pair) -> None:
    with reserved_port() as port:
        both.all.change("h2", address=f"http://127.0.0.1:{port}")
        one(evaluated(await seen(both)), Result.FAILED, "cannot be reached from here")


async def test_an_address_that_is_another_hosts(both: Pair) -> None:
    both.all.change("h2", address=both.one.base)
    one(evaluated(await seen(both)), Result.FAILED, "h1 answers there")


async def test_keys_that_are_not_alike(both: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    both.hosts["h2"].secrets = {"api.key_file": b"a key", "webhook.secret_file": b"another"}
    found = evaluated(await seen(both))
    one(found, Result.FAILED, "webhook.secret_file is not the same on h2 as here")
    assert len(found) == 1
    both.hosts["h2"].secrets = {"api.key_file": b"other", "webhook.secret_file": b"a secret"}
    one(evaluated(await seen(both)), Result.FAILED, "api.key_file is not the same on h2")
    monkeypatch.setattr(probes, "read_key", lambda path, field: b"another" * 5)
    found = evaluated(await seen(both))
    assert ["cluster.key_file is not the same on both" in it.seen for it in found] == [True, True]


async def test_clocks_that_differ(both: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    for off, result in ((-60.0, Result.FAILED), (20.0, Result.WARNING)):
        clock = SimpleNamespace(time=lambda by=off: time.time() + by)
        monkeypatch.setattr(probes, "time", clock)
        both.all.change("h1", alive=False)
        [check] = evaluated(await seen(both))
        assert (check.result, check.seen[:19]) == (result, "the clock of h2 (ht"), check


async def test_what_all_hosts_say_of_themselves(both: Pair) -> None:
    h1, h2 = await seen(both)
    one(evaluated([h1, replace(h2, version="9")]), Result.WARNING, "hosts have different versions")
    same = replace(h2, public_url=h1.public_url)
    one(evaluated([h1, same]), Result.FAILED, "name the same address http://h1")
    local = replace(h2, public_url="http://localhost:3001", public_is_loopback=True)
    one(evaluated([h1, local]), Result.FAILED, "which is each machine itself")
    one(evaluated([h1, replace(h2, status=404)]), Result.WARNING, "it may be of another version")
