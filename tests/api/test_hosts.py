"""/api/hosts, moves and /health in a cluster."""

import asyncio
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest
from aiohttp import web

from tests.api.conftest import Api
from tests.api.fake_cluster import Pair
from tests.api.fake_sessions import DOWN, SESSION, a_view
from tests.waiting import wait_until
from waguard.api.forwarding import CALLS
from waguard.api.health import COUNTED, COUNTED_AGAIN, COUNTED_EVERY
from waguard.core.cluster import alert_duty
from waguard.core.cluster.unowned import Unowned
from waguard.errors import DatabaseUnavailableError, UnavailableError

NOTHING_KNOWN: Final = {"total": 0, "connected": 0, "disconnected": 0}


async def test_the_hosts(hosts: Pair) -> None:
    hosts.all.without_owner = 2
    found = (await hosts.one.call("GET", "/api/hosts")).json()
    assert (found["host"], found["without_owner"]) == ("h1", 2)
    assert [it["host"] for it in found["hosts"]] == ["h1", "h2"]
    assert found["hosts"][1] == {
        "host": "h2",
        "address": hosts.two.base,
        "version": "1.0",
        "alive": True,
        "renewed_ago": 0.5,
        "owned": 1,
        "room": 5,
        "drain": False,
        "lease_left": 9.5,
        "conditions": [],
    }
    assert found["waiting"] == []


async def test_the_sessions_that_no_host_has(hosts: Pair) -> None:
    hosts.all.unowned = {"s1": Unowned(70.54, "its host h3 is down; no host has room for it")}
    found = (await hosts.one.call("GET", "/api/hosts")).json()
    [waiting] = found["waiting"]
    assert waiting == {
        "session_id": "s1",
        "seconds": 70.5,
        "why": "its host h3 is down; no host has room for it",
    }
    hosts.all.unowned = None
    assert (await hosts.one.call("GET", "/api/hosts")).json()["waiting"] is None


async def test_who_may_read_sees_the_hosts_and_nothing_more(hosts: Pair) -> None:
    made = await hosts.one.call("POST", "/api/keys", {"name": "eyes", "right": "operate"})
    key = made.json()["key"]
    assert (await hosts.one.call("GET", "/api/hosts", key=key)).status == 200
    assert (await hosts.one.call("POST", "/api/hosts/h1/drain", {}, key=key)).status == 403
    path = f"/api/sessions/{SESSION}/move"
    assert (await hosts.one.call("POST", path, {"to": "h1"}, key=key)).status == 403


async def test_a_status_names_the_host_that_has_the_session(hosts: Pair) -> None:
    for api in (hosts.one, hosts.two):
        answer = await api.call("GET", f"/api/sessions/{SESSION}/status")
        assert answer.json()["host"] == "h2"


async def test_the_details_have_other_hosts_sessions_where_asked_for(hosts: Pair) -> None:
    there = a_view(lifecycle="elsewhere", elsewhere=True)
    lost = a_view(session_id="lost", lifecycle="elsewhere", elsewhere=True)
    hosts.one.sessions.known = {SESSION: there, "lost": lost, "own": a_view(session_id="own")}
    hosts.all.owners["own"] = "h1"
    hosts.all.unowned = {"lost": Unowned(3.0, "no host has had it yet; it waits")}
    found = (await hosts.one.call("GET", "/health/detailed")).json()
    assert [it["session_id"] for it in found["details"]] == ["own"]
    found = (await hosts.one.call("GET", "/health/detailed?elsewhere=1")).json()
    found_rows = {
        it["session_id"]: (it["host"], it["status"], it["waiting"]) for it in found["details"]
    }
    assert found_rows == {
        "own": ("h1", "connected", None),
        SESSION: ("h2", "connected", None),
        "lost": (None, "disconnected", "no host has had it yet; it waits"),
    }
    answer = (await hosts.one.call("GET", "/sessions/lost/status")).json()
    assert answer.get("host", "") in {None, ""}


async def test_one_host_alone_names_none(api: Api) -> None:
    found = (await api.call("GET", "/health/detailed?elsewhere=1")).json()
    assert "host" not in found["details"][0]
    assert "host" not in (await api.call("GET", f"/api/sessions/{SESSION}/status")).json()


async def test_what_has_to_be_alike(hosts: Pair) -> None:
    """Each answers for itself, and says no secret."""
    for name in ("h1", "h2"):
        hosts.hosts[name].secrets = {"webhook.secret_file": b"sesame"}
    found = [(await it.call("GET", "/api/cluster/alike")).json() for it in (hosts.one, hosts.two)]
    assert [(it["host"], it["public_url"]) for it in found] == [
        ("h1", "http://h1"),
        ("h2", "http://h2"),
    ]
    assert found[0]["digests"] == found[1]["digests"]
    assert "sesame" not in str(found)


async def test_a_drain_is_that_hosts_to_do(hosts: Pair) -> None:
    answer = await hosts.one.call("POST", "/api/hosts/h2/drain", {})
    assert (answer.status, answer.json()["drain"]) == (200, True)
    assert hosts.hosts["h2"].asked == [("drain", False)]
    assert (await hosts.one.call("DELETE", "/api/hosts/h2/drain")).json()["drain"] is False
    assert (await hosts.one.call("POST", "/api/hosts/h1/drain", {})).status == 200
    assert hosts.hosts["h1"].asked == [("drain", False)]
    assert (await hosts.one.call("POST", "/api/hosts/h9/drain", {})).status == 404
    hosts.all.change("h2", alive=False)
    assert (await hosts.one.call("POST", "/api/hosts/h2/drain", {})).status == 503


async def test_any_host_forgets_another_one(hosts: Pair) -> None:
    hosts.all.change("h2", alive=False)
    answer = await hosts.one.call("DELETE", "/api/hosts/h2")
    assert (answer.status, answer.json()["host"]) == (200, "h2")
    assert hosts.hosts["h1"].asked == [("forget", "h2")]
    assert (await hosts.one.call("DELETE", "/api/hosts/h9")).status == 404


async def test_a_move_is_the_owners_to_do(hosts: Pair) -> None:
    path = f"/api/sessions/{SESSION}/move"
    answer = await hosts.one.call("POST", path, {"to": "h1"})
    assert (answer.status, answer.json()["to"]) == (200, "h1")
    assert hosts.hosts["h2"].asked == [("move", SESSION, "h1")]
    assert (await hosts.one.call("POST", path, {"to": "h9"})).status == 404
    assert (await hosts.one.call("POST", path, {})).status == 400
    for base in (hosts.one, hosts.two):
        answer = await base.call("POST", "/api/sessions/nobody/move", {"to": "h1"})
        assert answer.status == 404, "a name that is wrong is not to be tried again"


async def test_one_host_alone_has_no_hosts(api: Api) -> None:
    for method, path in (
        ("GET", "/api/hosts"),
        ("GET", "/api/cluster/alike"),
        ("POST", "/api/hosts/a/drain"),
        ("DELETE", "/api/hosts/a/drain"),
        ("DELETE", "/api/hosts/a"),
        ("GET", "/api/cluster/conditions"),
    ):
        answer = await api.call(method, path, None if method != "POST" else {})
        assert (answer.status, answer.json()["field"]) == (409, "cluster.engine")
    answer = await api.call("POST", f"/api/sessions/{SESSION}/move", {"to": "a"})
    assert answer.status == 409
    assert "X-Instance-Url" not in answer.headers


async def test_health_counts_the_sessions_of_all_hosts(hosts: Pair) -> None:
    hosts.all.change("h2", alive=False)
    hosts.one.sessions.known["b"] = a_view(session_id="b", **DOWN)
    found = (await hosts.one.call("GET", "/health", key=None)).json()
    assert found["sessions"] == {"total": 2, "connected": 1, "disconnected": 1}
    assert found["cluster"] == {"hosts": 2, "alive": 1, "without_owner": 0}
    detailed = (await hosts.one.call("GET", "/health/detailed")).json()
    assert detailed["cluster"] == found["cluster"]


async def test_health_without_the_database(hosts: Pair) -> None:
    """Where nothing was ever known it does not pass this host's own sessions for all, and asks again soon."""
    hosts.one.sessions.fail = DatabaseUnavailableError("it is away")
    found = (await hosts.one.call("GET", "/health", key=None)).json()
    assert found["sessions"] == NOTHING_KNOWN
    hosts.one.sessions.fail = None
    hosts.one.app[COUNTED]._due_at -= COUNTED_AGAIN
    while found["sessions"] == NOTHING_KNOWN:
        found = (await hosts.one.call("GET", "/health", key=None)).json()
    assert found["sessions"] == {"total": 1, "connected": 1, "disconnected": 0}


async def test_health_is_200_whatever_the_database_answers(hosts: Pair) -> None:
    known = (await hosts.one.call("GET", "/health", key=None)).json()["sessions"]
    hosts.one.sessions.fail = RuntimeError("permission denied for table sessions")
    for _ in range(2):
        hosts.one.app[COUNTED]._due_at -= COUNTED_EVERY
        answer = await hosts.one.call("GET", "/health", key=None)
        assert (answer.status, answer.json()["sessions"]) == (200, known)


async def test_health_waits_for_a_database_that_hangs_only_once(
    hosts: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until one count has succeeded again it says what it last knew."""
    known = (await hosts.one.call("GET", "/health", key=None)).json()["sessions"]
    hosts.one.sessions.fail = DatabaseUnavailableError("it is away")
    counted, request = (
        hosts.one.app[COUNTED],
        cast("web.Request", SimpleNamespace(app=hosts.one.app)),
    )
    counted._due_at -= COUNTED_EVERY
    await hosts.one.call("GET", "/health", key=None)
    views, free = hosts.one.sessions.views, asyncio.Event()

    async def hangs(**named: Any) -> Any:
        await free.wait()
        return await views(**named)

    monkeypatch.setattr(hosts.one.sessions, "views", hangs)
    counted._due_at -= COUNTED_AGAIN
    for _ in range(2):
        found = await counted.counts(request)
        assert (found.total, found.connected) == (known["total"], known["connected"])
        assert counted._count, "nobody has waited for its end"
    hosts.one.sessions.fail = None
    hosts.one.sessions.known["b"] = a_view(session_id="b", **DOWN)
    free.set()
    while (await hosts.one.call("GET", "/health", key=None)).json()["sessions"] == known:
        pass


async def test_the_details_wait_for_a_database_that_hangs_only_once(
    hosts: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is counted, listed and asked of it is so at the same time: else ``waguard status`` gives up before."""
    one, waiting, all_wait = hosts.one, set[str](), asyncio.Event()
    views, ping = one.sessions.views, one.store.ping

    async def meet(who: str) -> None:
        waiting.add(who)
        if waiting == {"count", "list", "ping"}:
            all_wait.set()
        await all_wait.wait()

    async def views_met(*, removed: bool = False, elsewhere: bool = False) -> Any:
        await meet("list" if removed else "count")
        return await views(removed=removed, elsewhere=elsewhere)

    async def ping_met() -> None:
        await meet("ping")
        await ping()

    monkeypatch.setattr(one.sessions, "views", views_met)
    monkeypatch.setattr(one.store, "ping", ping_met)
    found = (await one.call("GET", "/health/detailed?elsewhere=1&removed=1")).json()
    assert found["sessions"] == {"total": 1, "connected": 1, "disconnected": 0}
    assert found["database"] == "answers"


async def test_nobody_waits_until_a_question_that_hangs_is_cut_off(
    hosts: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That lasts as long again on a connection that hangs: it is closed, and the server asked."""
    one, free = hosts.one, asyncio.Event()
    views = one.sessions.views

    async def hangs() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await free.wait()

    async def views_hang(*, removed: bool = False, elsewhere: bool = False) -> Any:
        if elsewhere:
            await hangs()
        return await views(removed=removed, elsewhere=elsewhere)

    monkeypatch.setattr(one.sessions, "views", views_hang)
    monkeypatch.setattr(one.store, "ping", hangs)
    found = (await one.call("GET", "/health/detailed?elsewhere=1")).json()
    assert found["sessions"] == NOTHING_KNOWN
    assert found["details"] is None, "unknown is not empty"
    assert found["database"].startswith("no answer within")
    free.set()


async def test_who_asks_for_health_while_the_sessions_are_counted_waits_for_the_same(
    hosts: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    views, asked, free = hosts.one.sessions.views, list[bool](), asyncio.Event()

    async def slow(**named: Any) -> Any:
        asked.append(True)
        await free.wait()
        return await views(**named)

    monkeypatch.setattr(hosts.one.sessions, "views", slow)
    counted, request = (
        hosts.one.app[COUNTED],
        cast("web.Request", SimpleNamespace(app=hosts.one.app)),
    )
    first, second = [asyncio.ensure_future(counted.counts(request)) for _ in range(2)]
    await wait_until(lambda: asked, "they are being counted")
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    free.set()
    assert (await second).total == 1
    assert len(asked) == 1


async def test_what_a_person_must_act_on_there(hosts: Pair) -> None:
    """The host that sends alerts asks it."""
    found = (await hosts.two.call("GET", "/api/cluster/conditions")).json()
    assert (found["host"], found["sender"]) == ("h2", "h1")
    heard = alert_duty.heard(found)
    assert heard is not None
    assert heard.complete is found["complete"]
    hosts.all.change("h1", alive=False)
    assert (await hosts.two.call("GET", "/api/cluster/conditions")).json()["sender"] == "h2"
    asked = await hosts.two.app[CALLS].own(
        "GET", "/api/cluster/conditions", hosts.one.base, within=60.0
    )
    assert asked["host"] == "h1"
    assert hosts.hosts["h1"].asked == [("conditions", "h2")]
    assert hosts.hosts["h2"].asked == [], "no host has asked it"


async def test_what_another_host_answers_to_this_one(hosts: Pair) -> None:
    calls = hosts.one.app[CALLS]
    for to, target in ((hosts.two.base, "/none"), ("http://127.0.0.1:1", "/api/hosts")):
        with pytest.raises(UnavailableError):
            await calls.own("GET", target, to, within=60.0)
    with pytest.raises(UnavailableError, match="no JSON"):
        await calls.own("GET", "/metrics", hosts.two.base, within=60.0)
