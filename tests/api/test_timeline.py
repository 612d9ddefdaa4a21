"""GET /api/timeline: what happened, and who changed what, in one list."""

from typing import Any

from tests.api.conftest import Api
from tests.api.fake_sessions import SESSION, WORKSPACE
from waguard.core.incidents.changes import CHANGE
from waguard.core.keys import Caller, Right
from waguard.ports.store import AuditEntry

STOP = "POST /api/sessions/{session_id}/stop"


async def recorded(api: Api) -> None:
    for entry in (
        AuditEntry(session_id=None, kind="network_down", reason="no default route", at=1.0),
        AuditEntry(session_id=SESSION, kind="parked", reason="page", at=2.0),
        AuditEntry(
            session_id=SESSION, kind=CHANGE, before=STOP, after="done", reason="ani", at=3.0
        ),
        AuditEntry(session_id="other", kind="restart", reason="it hung", at=4.0),
    ):
        await api.store.record(entry)


async def entries(api: Api, query: str = "") -> list[dict[str, Any]]:
    answer = await api.call("GET", f"/api/timeline{query}")
    assert answer.status == 200, answer.content
    found: list[dict[str, Any]] = answer.json()["entries"]
    return found


async def test_entries_and_changes_are_in_one_list_the_newest_first(api: Api) -> None:
    await recorded(api)
    assert [it["session_id"] for it in await entries(api)] == ["other", SESSION, SESSION, None]
    change, parked = await entries(api, f"?session_id={SESSION}")
    assert change == {
        "number": 3,
        "at": "1970-01-01T00:00:03Z",
        "session_id": SESSION,
        "kind": "change",
        "text": "it was stopped by ani",
        "by": "ani",
        "outcome": "done",
    }
    assert (parked["text"], parked["by"], parked["outcome"]) == (
        "it was parked (page)",
        None,
        None,
    )


async def test_a_page_says_where_the_next_one_begins(api: Api) -> None:
    await recorded(api)
    first = (await api.call("GET", "/api/timeline?limit=3")).json()
    assert (len(first["entries"]), first["before"]) == (3, 2)
    rest = (await api.call("GET", "/api/timeline?limit=3&before=2")).json()
    assert ([it["number"] for it in rest["entries"]], rest["before"]) == ([1], None)
    for wrong in ("limit=0", "limit=501", "before=x", "session_id=../a"):
        assert (await api.call("GET", f"/api/timeline?{wrong}")).status == 400


async def test_a_key_for_some_sessions_sees_theirs_alone(api: Api) -> None:
    await recorded(api)
    api.caller = Caller(name="k", right=Right.READ, workspaces=frozenset({WORKSPACE}))
    assert [it["number"] for it in await entries(api)] == [3, 2]
    assert (await api.call("GET", "/api/timeline?session_id=other")).status == 404


async def test_without_the_database_it_is_unknown(api: Api) -> None:
    api.store.down = True
    assert (await api.call("GET", "/api/timeline")).status == 503
