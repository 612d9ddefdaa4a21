"""What a host says of a request that it forwards: taken once, by one host, in time, and from nobody else."""

import time
from dataclasses import replace
from typing import Any, Final

import pytest

from tests.api.conftest import Answer, Api
from tests.api.fake_cluster import SHARED_KEY, Pair
from tests.api.fake_sessions import SESSION
from waguard.api.auth import APPLICATION
from waguard.api.deps import SEALS
from waguard.core.cluster.forwarded_request import ForwardedRequest, sealed

STATUS: Final = f"/api/sessions/{SESSION}/status"


def said(hosts: Pair, **changes: Any) -> ForwardedRequest:
    usual: dict[str, Any] = {
        "method": "GET",
        "target": STATUS,
        "to": hosts.two.base,
        "at": time.time(),
        "nonce": "n1",
        "caller": APPLICATION,
    }
    return ForwardedRequest(**usual | changes)


async def shown_to(api: Api, seal: str, method: str = "GET", path: str = STATUS) -> Answer:
    headers = {"Authorization": f"Bearer {seal}"}
    return await api.call(method, path, key=None, headers=headers)


async def test_a_seal_is_taken_once(hosts: Pair) -> None:
    seal = sealed(said(hosts), SHARED_KEY)
    assert (await shown_to(hosts.two, seal)).status == 200
    assert (await shown_to(hosts.two, seal)).status == 401


async def test_what_no_host_has_sealed_for_this_request(
    hosts: Pair, subtests: pytest.Subtests
) -> None:
    good = sealed(said(hosts), SHARED_KEY)
    mark, _, seal = good.rpartition(".")
    cases = {
        "another key": sealed(said(hosts), b"another"),
        "no key": sealed(said(hosts), b""),
        "early": sealed(said(hosts, at=time.time() + 40), SHARED_KEY),
        "late": sealed(said(hosts, at=time.time() - 40), SHARED_KEY),
        "another host": sealed(said(hosts, to=hosts.one.base), SHARED_KEY),
        "another path": sealed(said(hosts, target="/api/sessions"), SHARED_KEY),
        "another query": sealed(said(hosts, target=f"{STATUS}?a=1"), SHARED_KEY),
        "another method": sealed(said(hosts, method="POST"), SHARED_KEY),
        "no seal": mark,
        "cut off": good[:-1],
        "tampered": f"{mark[:-2]}AA.{seal}",
        "empty": "waguard-host-1..",
        "no text": "waguard-host-1.ü.ü",
        "without its mark": good.removeprefix("waguard-host-1."),
    }
    for name, text in cases.items():
        with subtests.test(name):
            assert (await shown_to(hosts.two, text)).status == 401
    assert (await shown_to(hosts.two, good)).status == 200, "none of these has used it up"


async def test_a_seal_of_before_the_start(hosts: Pair) -> None:
    """What was taken before a restart is not known any more."""
    before = sealed(said(hosts, at=time.time() - 20), SHARED_KEY)
    assert (await shown_to(hosts.two, before)).status == 401


async def test_without_a_cluster_there_are_no_seals(api: Api, hosts: Pair) -> None:
    assert (await shown_to(api, sealed(said(hosts, to=api.base), SHARED_KEY))).status == 401


async def test_nobody_without_a_key_gets_more_by_it(hosts: Pair) -> None:
    """Where no key is needed on the loopback, that host says so of three routes alone."""
    nobody = said(hosts, caller=None)
    assert (await shown_to(hosts.two, sealed(nobody, SHARED_KEY))).status == 401


async def test_hosts_whose_keys_differ(hosts: Pair) -> None:
    """The client's key is good: it is not 401 to it."""
    seals: Any = hosts.two.app[SEALS]
    seals._cluster = replace(seals._cluster, key=b"another")
    answer = await hosts.one.call("GET", STATUS)
    assert answer.status == 503
    assert "cluster.key_file" in answer.json()["remedy"]
