"""What a host says of a request that it forwards: taken once, by one host, in time, and from nobody else."""

import time
from dataclasses import replace
from typing import Any, Final

import pytest
from aiohttp.test_utils import make_mocked_request

from tests.api.conftest import Answer, Api
from tests.api.fake_cluster import SHARED_KEY, Pair, one_host
from tests.api.fake_sessions import SESSION
from tests.clocks import Clock
from waguard.api.auth import APPLICATION
from waguard.api.deps import SEALS
from waguard.api.host_seals import REMEMBERED, HostSeals
from waguard.core.cluster.forwarded_request import MOST_OFF, ForwardedRequest, sealed
from waguard.core.replace import replace as replaced

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


def seals(clock: Clock, base: str = "http://h2") -> HostSeals:
    return HostSeals(one_host(base), clock)


def shown(clock: Clock, nonce: str = "n", **changes: Any) -> str:
    it = ForwardedRequest(
        method="GET", target="/a", to="http://h2", at=clock.wall(), nonce=nonce, caller=None
    )
    return sealed(replaced(it, **changes), SHARED_KEY)


def is_taken(by: HostSeals, text: str) -> bool:
    return by.opened(make_mocked_request("GET", "/a"), ["a key", text]) is not None


def test_a_copy_is_refused_as_long_as_it_is_in_time() -> None:
    clock = Clock()
    it = seals(clock)
    early = shown(clock, at=clock.wall() + MOST_OFF)
    assert is_taken(it, early)
    clock.live(2 * MOST_OFF)
    assert it.is_one(early)
    assert not is_taken(it, early)
    clock.live(1.0)
    assert not it.is_one(early)
    assert is_taken(it, shown(clock, "m"))
    assert len(it._seen) == 1, "what is refused for its age is forgotten"


def test_a_clock_that_is_set_back() -> None:
    """Only those that have just begun ask whether it was before their start."""
    clock = Clock()
    it = seals(clock)
    assert not is_taken(it, shown(clock, at=clock.wall() - 1.0))
    clock.live(REMEMBERED)
    clock.at -= 3600.0
    assert is_taken(it, shown(clock))
