"""What a host says of a request that it forwards: taken once, by one host, in time, and from nobody else."""

import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from tests.api.conftest import Answer, Api
from tests.api.fake_cluster import SHARED_KEY, Pair, one_host
from tests.api.fake_sessions import SESSION
from tests.clocks import Clock
from waguard.api.auth import APPLICATION
from waguard.api.deps import SEALS
from waguard.api.host_seals import REMEMBERED, AnotherStartError, HostSeals
from waguard.core.cluster.forwarded_request import MOST_OFF, ForwardedRequest, digest, sealed
from waguard.core.replace import replace as replaced

STATUS: Final = f"/api/sessions/{SESSION}/status"
SEND: Final = "/api/messages/send"
TEXT: Final = {"session_id": SESSION, "recipient_phone": "6281234567890", "message": "hello"}


def said(hosts: Pair, **changes: Any) -> ForwardedRequest:
    usual: dict[str, Any] = {
        "method": "GET",
        "target": STATUS,
        "to": hosts.two.base,
        "at": time.time(),
        "nonce": "n1",
        "caller": APPLICATION,
        "start": "s-h2",
        "content": digest(b"", content_type="", idempotency_key=""),
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
        "empty": "waguard-host-2..",
        "no text": "waguard-host-2.ü.ü",
        "without its mark": good.removeprefix("waguard-host-2."),
        "another body": sealed(said(hosts, nonce="n2", content="0f" * 32), SHARED_KEY),
        "no body": sealed(said(hosts, nonce="n3", content=""), SHARED_KEY),
        "another start": sealed(said(hosts, start="s-h1"), SHARED_KEY),
        "form 1, where all hosts know 2": sealed(said(hosts, start="", content=""), SHARED_KEY),
    }
    for name, text in cases.items():
        with subtests.test(name):
            assert (await shown_to(hosts.two, text)).status == 401
    assert (await shown_to(hosts.two, good)).status == 200, "none of these has used it up"


async def test_a_copy_over_a_restart(hosts: Pair) -> None:
    """What was taken before a restart is not known any more; a clock that runs ahead changes nothing."""
    seal = sealed(said(hosts, at=time.time() + 20), SHARED_KEY)
    hosts.all.change("h2", start="s-h2-again")
    answer = await shown_to(hosts.two, seal)
    assert (answer.status, answer.headers["X-Host-Start"][:11]) == (401, "s-h2-again.")


async def test_what_was_sealed_for_an_earlier_start_is_sealed_once_more(hosts: Pair) -> None:
    """The record of a host that was started again comes later than the host."""
    seals: Any = hosts.two.app[SEALS]
    seals._cluster = replace(seals._cluster, start=lambda: "s-h2-again")
    assert (await hosts.one.call("GET", STATUS)).status == 200
    assert (await hosts.one.call("POST", SEND, TEXT)).status == 200
    assert len(hosts.two.sessions.sends()) == 1


async def test_a_host_that_never_agrees(hosts: Pair) -> None:
    """It is asked twice, and no third time."""
    starts = itertools.count()
    seals: Any = hosts.two.app[SEALS]
    seals._cluster = replace(seals._cluster, start=lambda: f"s{next(starts)}")
    assert (await hosts.one.call("GET", STATUS)).status == 503
    assert next(starts) == 2


async def test_a_body_that_somebody_changed(hosts: Pair) -> None:
    """On its way, where he can read and write what hosts say to each other."""
    body, headers = json.dumps(TEXT).encode(), {"Content-Type": "application/json"}
    good = digest(body, content_type="application/json", idempotency_key="order-1")
    usual = {"method": "POST", "target": SEND, "content": good}

    async def sent(nonce: str, body: bytes, **other: str) -> int:
        seal = sealed(said(hosts, nonce=nonce, **usual), SHARED_KEY)
        named = {**headers, "Authorization": f"Bearer {seal}", **other}
        return (await hosts.two.call("POST", SEND, data=body, key=None, headers=named)).status

    order = {"Idempotency-Key": "order-1"}
    assert await sent("a", body.replace(b"hello", b"hullo"), **order) == 401
    assert await sent("b", b"", **order) == 401
    assert await sent("c", body) == 401
    assert await sent("d", body, **{"Idempotency-Key": "order-2"}) == 401
    assert not hosts.two.sessions.sends()
    assert await sent("e", body, **order) == 200


async def test_no_host_forwards_an_upload(hosts: Pair) -> None:
    """Its handler reads the body piece by piece: nothing says that it is what was sealed."""
    seal = sealed(said(hosts, method="POST", target="/api/media"), SHARED_KEY)
    assert (await shown_to(hosts.two, seal, "POST", "/api/media")).status == 401


# ---- hosts of an earlier version ----


async def test_an_earlier_version_gets_what_it_knows(hosts: Pair) -> None:
    """Its record names no start."""
    hosts.all.change("h2", start="")
    seals: Any = hosts.two.app[SEALS]
    seen: list[str] = []
    opened = seals.opened

    def noting(request: web.Request, shown: Sequence[str]) -> ForwardedRequest | None:
        seen.extend(it.split(".")[0] for it in shown)
        found: ForwardedRequest | None = opened(request, shown)
        return found

    seals.opened = noting
    hosts.all.change("h1", start="")  # for the other one is no earlier version in truth
    assert (await hosts.one.call("GET", STATUS)).status == 200
    assert seen == ["waguard-host-1"]


async def test_an_earlier_version_is_heard_while_it_lives(hosts: Pair) -> None:
    form_1: Any = {"start": "", "content": ""}
    hosts.all.change("h1", start="")
    assert (await shown_to(hosts.two, sealed(said(hosts, **form_1), SHARED_KEY))).status == 200
    before = said(hosts, nonce="n2", at=time.time() - 20, **form_1)
    assert (await shown_to(hosts.two, sealed(before, SHARED_KEY))).status == 401, "of before"
    hosts.all.change("h1", alive=False)
    late = said(hosts, nonce="n3", **form_1)
    assert (await shown_to(hosts.two, sealed(late, SHARED_KEY))).status == 401


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
        method="GET",
        target="/a",
        to="http://h2",
        at=clock.wall(),
        nonce=nonce,
        caller=None,
        start="s-h1",
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
    clock.live(REMEMBERED)
    assert not it.is_one(early)
    assert is_taken(it, shown(clock, "m"))
    assert len(it._seen) == 1, "what is refused for its age is forgotten"


def test_a_clock_that_is_set_back() -> None:
    """Of form 1, only those that have just begun ask whether it was before their start."""
    clock = Clock()
    it = seals(clock)
    it._cluster.hosts.all.add("h2", "http://h3")  # type: ignore[attr-defined]
    it._cluster.hosts.all.change("h2", start="")  # type: ignore[attr-defined]
    with pytest.raises(AnotherStartError):
        is_taken(it, shown(clock, start="", at=clock.wall() - 1.0))
    clock.live(REMEMBERED)
    clock.at -= 3600.0
    assert is_taken(it, shown(clock, start=""))
