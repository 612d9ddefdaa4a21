"""A daemon that waits for another one's lease: what it answers, and that all else is refused in one way."""

from typing import Final

from tests.api.conftest import Api
from tests.api.fake_sessions import HEALTHY, SESSION
from tests.api.test_php import VALUES
from waguard.api import create_app
from waguard.core.incidents.folding import fleet_condition
from waguard.core.keys import Caller, Right
from waguard.core.lease import HeldElsewhere, Holder
from waguard.core.replace import replace
from waguard.core.replace import replace as replaced

OTHER: Final = Holder(machine="m2", runtime="/run/waguard", host="beta", pid=8, instance="i8")
HELD: Final = HeldElsewhere(holder=OTHER, since=1_732_233_600.0, renewed_ago=3.21)
WAITS: Final = "standby: waiting for the lease of beta"
STANDBY: Final = replaced(fleet_condition("standby", "as is meant", since=1.0), degrades=False)
OWN: Final = {"/api/openapi.json", "/api/log-level", "/api/incidents", "/api/incidents/all"}


def waits(api: Api, *, answers: bool = True) -> None:
    api.held_elsewhere = HELD if answers else replace(HELD, renewed_ago=None)
    api.sessions.status = replace(HEALTHY, supervising=False, conditions=(STANDBY,))


async def test_health_says_whose_standby_it_is(api: Api) -> None:
    waits(api)
    answer = await api.call("GET", "/health", key=None)
    said = answer.json()
    assert (answer.status, said["status"], said["error"]) == (503, "standby", WAITS)
    assert said["conditions"] == {"standby": 1}
    assert "/run/waguard" not in answer.content.decode(), "no path without a key"
    ready = await api.call("GET", "/health/ready", key=None)
    assert (ready.status, ready.json()["status"], ready.json()["error"]) == (503, "standby", WAITS)
    assert ready.headers["Retry-After"]
    assert (await api.call("GET", "/health/live", key=None)).status == 200
    detailed = await api.call("GET", "/health/detailed")
    assert (detailed.status, detailed.json()["status"]) == (200, "standby")
    assert detailed.json()["lease_holder"] == {
        "host": "beta",
        "runtime": "/run/waguard",
        "pid": 8,
        "since": "2024-11-22T00:00:00Z",
        "renewed_ago": 3.2,
    }
    assert b"\nwaguard_standby 1.0\n" in (await api.call("GET", "/metrics")).content


async def test_a_key_for_some_sessions_learns_no_path(api: Api) -> None:
    waits(api)
    api.caller = Caller(name="one", right=Right.READ, sessions=frozenset({SESSION}))
    assert (await api.call("GET", "/health/detailed")).json()["lease_holder"] is None


async def test_what_the_holder_does_is_unknown_while_the_database_is_away(api: Api) -> None:
    waits(api, answers=False)
    assert "the database does not answer" in (await api.call("GET", "/health")).json()["error"]
    detailed = (await api.call("GET", "/health/detailed")).json()
    assert detailed["lease_holder"]["renewed_ago"] is None


async def test_a_holder_waits_for_nobody(api: Api) -> None:
    assert (await api.call("GET", "/health/detailed")).json()["lease_holder"] is None
    assert b"\nwaguard_standby 0.0\n" in (await api.call("GET", "/metrics")).content


async def test_all_that_is_the_holders_is_refused_in_one_way(api: Api) -> None:
    waits(api)
    before = dict(api.sessions.known)
    routes = {
        (it.method, it.resource.canonical)
        for it in create_app(api.deps).router.routes()
        if it.resource and it.method != "HEAD"
    }
    answered = set[str]()
    for method, path in sorted(routes - {("GET", "/api/events")}):
        answer = await api.call(method, path.format(**VALUES), {})
        if answer.status != 503:
            answered.add(path)
        elif path.startswith(("/api/", "/sessions/")):
            assert answer.json()["error"] == WAITS, path
            assert answer.json()["remedy"], path
            assert answer.headers["Retry-After"] == "5", path
    of_others = {it for it in answered if it.startswith(("/api/", "/sessions/"))}
    assert {it for it in of_others if not it.startswith("/api/keys")} <= OWN
    assert {"/", "/docs", "/metrics", "/api/incidents", "/api/keys", "/api/log-level"} <= answered
    assert api.sessions.known == before
    assert len(routes) > 50


async def test_without_a_key_nobody_learns_more(api: Api) -> None:
    waits(api)
    assert (await api.call("GET", "/api/sessions", key=None)).status == 401
    assert (await api.call("GET", "/api/nothing")).status == 404
