"""The routes of health, as the application and a person read them."""

from typing import Any

import pytest

from tests.api.conftest import Api
from tests.api.fake_sessions import BLOCKED, HEALTHY, SESSION, STATUS
from waguard.core.incidents.folding import fleet_condition
from waguard.core.replace import replace
from waguard.core.replace import replace as replaced

ONE = f"/api/sessions/{SESSION}"


async def test_the_details_have_deleted_sessions_where_asked_for(api: Api) -> None:
    assert (await api.call("DELETE", ONE)).status == 200
    for path, names in (("", []), ("?removed=0", []), ("?removed=1", [SESSION])):
        reported = (await api.call("GET", f"/health/detailed{path}")).json()
        assert [it["session_id"] for it in reported["details"]] == names
    assert (await api.call("GET", "/health/detailed?removed=x")).status == 400


class TestHealth:
    async def test_is_200_while_it_supervises(self, api: Api) -> None:
        answer = await api.call("GET", "/health", key=None)
        reported = answer.json()
        assert answer.status == 200
        assert reported["status"] == "healthy"
        assert reported["sessions"] == {"total": 1, "connected": 1, "disconnected": 0}
        assert reported["memory"]["unit"] == "MB"
        assert 10 < reported["memory"]["used"] < reported["memory"]["total"]
        assert reported["uptime"] >= 0
        assert reported["timestamp"].endswith("Z")

    async def test_degraded_is_still_200(self, api: Api) -> None:
        api.sessions.status = replace(HEALTHY, database=False, conditions=(BLOCKED, BLOCKED))
        answer = await api.call("GET", "/health", key=None)
        assert (answer.status, answer.json()["status"]) == (200, "degraded")
        assert answer.json()["conditions"] == {"parked": 2}, "no name and no word without a key"

    async def test_a_scan_that_is_waited_for_is_nothing_wrong(self, api: Api) -> None:
        api.sessions.status = replace(HEALTHY, conditions=(replaced(BLOCKED, degrades=False),))
        answer = await api.call("GET", "/health", key=None)
        assert (answer.json()["status"], answer.json()["conditions"]) == ("healthy", {"parked": 1})

    async def test_stopping_is_503(self, api: Api) -> None:
        api.sessions.status = replace(HEALTHY, supervising=False)
        assert (await api.call("GET", "/health", key=None)).status == 503
        assert (await api.call("GET", "/health/live", key=None)).status == 200

    @pytest.mark.parametrize(
        ("missing", "expected_words"),
        [("database", "database"), ("restored", "restored"), ("supervising", "stopping")],
    )
    async def test_ready_says_what_is_missing(
        self, api: Api, missing: str, expected_words: str
    ) -> None:
        changes: dict[str, Any] = {missing: False}
        api.sessions.status = replace(HEALTHY, **changes)
        answer = await api.call("GET", "/health/ready", key=None)
        assert answer.status == 503
        assert answer.json()["checks"][missing] is False
        assert expected_words in answer.json()["error"]
        assert answer.headers["Retry-After"]
        api.sessions.status = HEALTHY
        assert (await api.call("GET", "/health/ready", key=None)).status == 200

    @pytest.mark.parametrize(
        ("kind", "why"),
        [
            ("database_unknown", "the database, or the etcd, is not known"),
            ("lease_held", "another daemon has the database's lease"),
            ("host_without_lease", "this host is without its lease"),
        ],
    )
    async def test_ready_says_why_a_database_that_answers_is_not_used(
        self, api: Api, kind: str, why: str
    ) -> None:
        barred = fleet_condition(kind, "at 10.0.0.1", since=1.0)
        api.sessions.status = replace(
            HEALTHY, database=False, restored=False, conditions=(barred,), total=0, connected=0
        )
        answer = await api.call("GET", "/health/ready", key=None)
        assert answer.status == 503
        assert answer.json()["error"].startswith(why)
        api.sessions.status = replace(api.sessions.status, supervising=False)
        health = (await api.call("GET", "/health", key=None)).json()
        assert health["error"].startswith(why)
        assert "answer" not in answer.json()["error"]
        assert "10.0.0.1" not in answer.content.decode(), "no address without a key"

    async def test_detailed_health_names_each_condition(self, api: Api) -> None:
        api.sessions.status = replace(HEALTHY, conditions=(BLOCKED,))
        reported = (await api.call("GET", "/health/detailed")).json()
        assert reported["problems"] == ["a: WhatsApp blocks it"]
        assert [(it["session_id"], it["type"]) for it in reported["conditions"]] == [
            ("a", "parked")
        ]
        assert reported["database"] == "answers"
        assert reported["restored"] is True
        assert reported["details"] == [STATUS]
