"""GET /api/incidents: what concerned all sessions at once."""

from tests.api.conftest import Api
from tests.api.fake_sessions import HEALTHY, SESSION, a_view
from waguard.core.incidents.folding import fleet_condition
from waguard.core.replace import replace
from waguard.ports.store import AuditEntry


async def test_those_of_all_sessions_are_reported_in_sentences(api: Api) -> None:
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


async def test_without_the_database_conditions_are_reported_and_incidents_are_unknown(
    api: Api,
) -> None:
    assert (await api.call("GET", "/api/incidents", key=None)).status == 401
    down = fleet_condition("database_down", "it is away", since=1.0)
    api.sessions.status = replace(HEALTHY, conditions=(down,))
    api.sessions.known[SESSION] = a_view(conditions=(down,))
    api.store.down = True
    for path in ("/api/incidents", f"/api/sessions/{SESSION}/incidents"):
        answer = await api.call("GET", path)
        assert (answer.status, answer.json()["incidents"]) == (200, None)
        assert [it["type"] for it in answer.json()["conditions"]] == ["database_down"]


async def test_a_purged_session_keeps_its_history(api: Api) -> None:
    for at, kind in ((1.0, "parked"), (2.0, "left")):
        entry = AuditEntry(session_id=SESSION, kind=kind, reason="conflict", at=at)
        await api.store.record(entry)
    before = (await api.call("GET", f"/api/sessions/{SESSION}/incidents")).json()
    assert (await api.call("DELETE", f"/api/sessions/{SESSION}?purge=1")).status == 200
    assert (await api.call("GET", f"/api/sessions/{SESSION}/status")).status == 404
    after = (await api.call("GET", f"/api/sessions/{SESSION}/incidents")).json()
    assert after == before | {"status": "purged", "conditions": []}
    assert (await api.call("GET", "/api/sessions/nobody/incidents")).status == 404


async def test_those_of_every_session_and_of_all_at_once(api: Api) -> None:
    for at, kind, session in (
        (1.0, "network_down", None),
        (2.0, "parked", SESSION),
        (3.5, "network_up", None),
        (4.0, "left", "purged"),
        (5.0, "parked", "purged"),
        (6.0, "left", "purged"),
    ):
        await api.store.record(AuditEntry(session_id=session, kind=kind, reason="x", at=at))

    async def those(since: str) -> list[tuple[str | None, str]]:
        answer = await api.call("GET", f"/api/incidents/all{since}")
        return [(it["session_id"], it["began"]) for it in answer.json()["incidents"]]

    network, parked = (None, "1970-01-01T00:00:01Z"), (SESSION, "1970-01-01T00:00:02Z")
    purged = ("purged", "1970-01-01T00:00:05Z")
    assert await those("") == [network, parked, purged]
    assert await those("?since=1970-01-01T00:00:03.5Z") == [network, parked, purged]
    assert await those("?since=1970-01-01T00:00:04") == [parked, purged]
    assert await those("?since=1970-01-01T01:00:07%2B01:00") == [parked], "it goes on"
    for wrong in ("x", "", "5"):
        assert (await api.call("GET", f"/api/incidents/all?since={wrong}")).status == 400
