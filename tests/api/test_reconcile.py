"""GET and POST /api/reconcile."""

from tests.api.conftest import Api
from tests.api.fake_sessions import SESSION
from waguard.core.reconcile import Correction, Finding, Kind
from waguard.errors import DatabaseUnavailableError

CORRECTION = Correction(
    session=SESSION, action="correct row", before="error", after="connected", reason="it lied"
)


async def test_the_difference_is_shown_and_nothing_is_done(api: Api) -> None:
    api.sessions.corrections = [CORRECTION]
    api.sessions.findings = [Finding("old", Kind.PROFILE_WITHOUT_ROW, "a sentence", "what to do")]
    for _ in range(2):
        answer = await api.call("GET", "/api/reconcile")
        assert answer.status == 200
        assert answer.json()["corrections"] == [
            {
                "session": SESSION,
                "action": "correct row",
                "before": "error",
                "after": "connected",
                "reason": "it lied",
            }
        ]
        assert answer.json()["findings"] == [
            {
                "session": "old",
                "kind": "profile_without_row",
                "about": "a sentence",
                "remedy": "what to do",
            }
        ]


async def test_now_it_is_done(api: Api) -> None:
    api.sessions.corrections = [CORRECTION]
    answer = await api.call("POST", "/api/reconcile")
    assert (answer.status, len(answer.json()["corrections"])) == (200, 1)
    answer = await api.call("POST", "/api/reconcile")
    assert (answer.status, answer.json()["corrections"]) == (200, [])


async def test_a_database_that_is_down_is_no_agreement(api: Api) -> None:
    api.sessions.fail = DatabaseUnavailableError("the database does not answer")
    for method in ("GET", "POST"):
        answer = await api.call(method, "/api/reconcile")
        assert answer.status == 503
        assert "database" in answer.json()["error"]


async def test_reconcile_wants_the_key(api: Api) -> None:
    for method in ("GET", "POST"):
        assert (await api.call(method, "/api/reconcile", key=None)).status == 401
