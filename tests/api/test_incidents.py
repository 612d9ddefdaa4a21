"""GET /api/incidents: what concerned all sessions at once."""

from dataclasses import replace

from tests.api.conftest import Api
from tests.api.fake_sessions import HEALTHY, SESSION, a_view
from waguard.core.incidents import fleet_condition
from waguard.ports import AuditEntry


async def test_those_of_all_sessions_are_told_in_sentences(api: Api) -> None:
    for at, kind, session in (
        (1.0, "network_down", None),
        (2.0, "parked", SESSION),
        (3.5, "network_up", None),
    ):
        await api.store.record(
            AuditEntry(session_id=session, kind=kind, reason="no default route", at=at)
        )
    answer = await api.call("GET", "/api/incidents")
    assert answer.status == 200
    (incident,) = answer.json()["incidents"]
    assert incident["began"] == "1970-01-01T00:00:01Z"
    assert incident["sentences"][0] == "Cause: no default route."
    assert incident["sentences"][-1].endswith("after 2.5 s.")


async def test_without_the_database_conditions_are_told_and_incidents_are_unknown(api: Api) -> None:
    assert (await api.call("GET", "/api/incidents", key=None)).status == 401
    down = fleet_condition("database_down", "it is away", since=1.0)
    api.sessions.status = replace(HEALTHY, conditions=(down,))
    api.sessions.known[SESSION] = a_view(conditions=(down,))
    api.store.down = True
    for path in ("/api/incidents", f"/api/sessions/{SESSION}/incidents"):
        answer = await api.call("GET", path)
        assert (answer.status, answer.json()["incidents"]) == (200, None)
        assert [it["type"] for it in answer.json()["conditions"]] == ["database_down"]
