"""The routes of sessions, as the application and a person read them."""

import asyncio
from typing import Any

import pytest
from loguru import logger

from tests.api.conftest import KEY, Api
from tests.api.fake_sessions import SESSION, STATUS, a_view
from tests.waiting import wait_until
from waguard.api.timings import Timings
from waguard.core import remedies
from waguard.core.blame import Blame, Condition
from waguard.core.page_care import Kind
from waguard.errors import DatabaseUnavailableError, UnavailableError

ONE = f"/api/sessions/{SESSION}"


async def test_conditions_say_what_a_person_can_do(api: Api) -> None:
    passkey = Condition(
        session=SESSION,
        type="passkey_required",
        blame=Blame.OPERATOR,
        reason="passkey_required",
        message="until 10:10",
        since=1_732_233_600.4,
        remedy=remedies.PAGE[Kind.PASSKEY_REQUIRED],
        expires_in=9.6,
        stage="offered",
        unattended_until=1_732_233_600.4,
        unattended_expires_in=4.4,
    )
    view = a_view(status="qr_scanning", link="passkey_required", conditions=(passkey,))
    api.sessions.known[SESSION] = view
    answer = await api.call("GET", f"/api/sessions/{SESSION}/status")
    assert (answer.json()["status"], answer.json()["link"]) == ("qr_scanning", "passkey_required")
    assert answer.json()["conditions"] == [
        {
            "session_id": SESSION,
            "type": "passkey_required",
            "blame": "operator",
            "reason": "passkey_required",
            "message": "until 10:10",
            "remedy": remedies.PAGE[Kind.PASSKEY_REQUIRED],
            "since": "2024-11-22T00:00:00Z",
            "until": None,
            "expires_in": 10,
            "stage": "offered",
            "unattended_until": "2024-11-22T00:00:00Z",
            "unattended_expires_in": 4,
            "degrades": True,
            "needs_person": False,
        }
    ]


async def test_create_is_201_then_200_then_409_for_another_workspace(api: Api) -> None:
    body = {"session_id": "new-1", "workspace_id": "12", "account_id": 5, "priority": 3}
    reported = {"success": True, "session_id": "new-1", "status": "qr_scanning"}
    first = await api.call("POST", "/api/sessions", body)
    assert (first.status, first.json()) == (201, reported)
    again = await api.call("POST", "/api/sessions", body)
    assert (again.status, again.json()) == (200, reported)
    view = api.sessions.known["new-1"]
    assert (view.workspace_id, view.account_id, view.priority) == (12, 5, 3)
    assert (await api.call("POST", "/api/sessions", body | {"workspace_id": 13})).status == 409


@pytest.mark.parametrize(
    ("given", "kept"), [("low", -10), ("normal", 0), ("high", 10), ("-3", -3), (None, 0), ("", 0)]
)
async def test_priority_is_a_number_or_a_word_of_the_old_service(
    api: Api, given: str | None, kept: int
) -> None:
    body = {"session_id": "new-1", "workspace_id": 12, "priority": given}
    assert (await api.call("POST", "/api/sessions", body)).status == 201
    assert api.sessions.known["new-1"].priority == kept


async def test_list_and_status(api: Api) -> None:
    reported = (await api.call("GET", "/api/sessions")).json()
    listed = ["session_id", "workspace_id", "status", "phone_number", "connected_at"]
    assert reported == {
        "success": True,
        "sessions": [{name: STATUS[name] for name in listed}],
        "total": 1,
    }
    for path in (f"{ONE}/status", f"/sessions/{SESSION}/status"):
        answer = await api.call("GET", path)
        assert (answer.status, answer.json()) == (200, STATUS)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Server"] == "waguard"
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_when_its_phone_was_used(api: Api) -> None:
    """In the shape of the old service, which the application reads."""
    path = f"/api/internal/sessions/{SESSION}/last-activity"
    for used_at, shown in ((None, None), (1_732_240_000.0, "2024-11-22T01:46:40Z")):
        api.sessions.known[SESSION] = a_view(phone_used_at=used_at)
        answer = await api.call("GET", path)
        assert answer.json() == {
            "success": True,
            "data": {"session_id": SESSION, "last_activity": shown},
        }
    assert (await api.call("GET", path.replace(SESSION, "nobody"))).status == 404


@pytest.mark.parametrize(
    ("method", "path", "done"),
    [
        ("POST", f"{ONE}/restore", "start"),
        ("POST", f"{ONE}/start", "start"),
        ("POST", f"{ONE}/stop", "stop"),
        ("POST", f"{ONE}/reconnect", "restart"),
        ("POST", f"{ONE}/logout", "logout"),
        ("POST", f"/sessions/{SESSION}/logout", "logout"),
        ("DELETE", ONE, "delete"),
    ],
)
async def test_each_change_is_done_once(api: Api, method: str, path: str, done: str) -> None:
    answer = await api.call(method, path, {})
    assert (answer.status, answer.json()["success"]) == (200, True)
    assert api.sessions.done == [done]


async def test_a_deleted_session_is_hidden_but_still_there(api: Api) -> None:
    assert (await api.call("DELETE", ONE)).status == 200
    reported = (await api.call("GET", "/api/sessions")).json()
    assert (reported["sessions"], reported["total"]) == ([], 0)
    assert (await api.call("GET", "/api/sessions?removed=0")).json() == reported
    reported = (await api.call("GET", "/api/sessions?removed=1")).json()
    assert [row["removed_at"] for row in reported["sessions"]] == ["2026-11-25T01:02:03Z"]
    assert reported["total"] == 1
    answer = await api.call("GET", f"{ONE}/status")
    assert (answer.status, answer.json()["status"]) == (200, "disconnected")
    assert answer.json()["removed_at"] == "2026-11-25T01:02:03Z"
    assert (await api.call("GET", f"{ONE}/incidents")).status == 200


@pytest.mark.parametrize("unlinks", [True, False])
async def test_a_deletion_says_whether_the_phone_still_lists_the_device(
    api: Api, *, unlinks: bool
) -> None:
    api.sessions.unlinks = unlinks
    answer = await api.call("DELETE", ONE)
    assert answer.json() == {"success": True, "session_id": SESSION, "unlinked": unlinks}
    assert (await api.call("POST", f"{ONE}/logout")).json()["unlinked"] is unlinks


async def test_purge_deletes_the_row_too(api: Api) -> None:
    assert (await api.call("DELETE", f"{ONE}?purge=1")).status == 200
    assert api.sessions.done == ["purge"]
    assert (await api.call("GET", f"{ONE}/status")).status == 404


@pytest.mark.parametrize(
    ("method", "path", "field"),
    [("GET", "/api/sessions?removed=yes", "removed"), ("DELETE", f"{ONE}?purge=", "purge")],
)
async def test_a_question_that_is_neither_yes_nor_no(
    api: Api, method: str, path: str, field: str
) -> None:
    answer = await api.call(method, path)
    reported = answer.json()
    assert (answer.status, reported["field"], reported["remedy"]) == (400, field, "1 or 0")
    assert api.sessions.done == []


async def test_a_logout_fails_what_waits(api: Api) -> None:
    api.sessions.not_ready = UnavailableError("it reconnects")
    body = {"session_id": SESSION, "recipient_phone": "6281234567890", "message": "hi"}
    kept = (await api.call("POST", "/api/messages/send?async=1", body)).json()["id"]
    assert (await api.call("POST", f"{ONE}/logout")).status == 200
    row = await api.database.outbox.find(kept)
    assert row
    assert (row.state, row.error) == ("failed", "its session was logged out")


async def test_a_logout_fails_what_is_accepted_in_its_middle(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The profile is quarantined after what waited, and that may take a while."""
    api.sessions.not_ready = UnavailableError("it reconnects")
    real, kept = api.sessions.logout, list[int]()

    async def logout(session_id: str, **given: Any) -> Any:
        answer = await real(session_id, **given)
        body = {"session_id": SESSION, "recipient_phone": "6281234567890", "message": "hi"}
        kept.append((await api.call("POST", "/api/messages/send?async=1", body)).json()["id"])
        return answer

    monkeypatch.setattr(api.sessions, "logout", logout)
    assert (await api.call("POST", f"{ONE}/logout")).status == 200
    row = await api.database.outbox.find(kept[0])
    assert row
    assert row.state == "failed"


async def test_metadata_is_kept_in_the_store(api: Api) -> None:
    wanted = {"a": [1, {"b": "ü😀"}]}
    assert (await api.call("GET", f"{ONE}/metadata")).json()["metadata"] == {}
    assert (await api.call("PUT", f"{ONE}/metadata", {"metadata": wanted})).status == 200
    assert (await api.call("GET", f"{ONE}/metadata")).json()["metadata"] == wanted
    assert (await api.call("PUT", f"{ONE}/metadata", {"x": 1, "api_key": "no"})).status == 200
    assert await api.store.metadata(SESSION) == {"x": 1}
    its_own = {"workspace_id": "acme", "session_id": 5}
    assert (await api.call("PUT", f"{ONE}/metadata", its_own)).status == 200
    assert await api.store.metadata(SESSION) == its_own


async def test_metadata_updates_are_merged(api: Api) -> None:
    """As Laravel's array_merge does it: a null is a value like any other."""
    put = f"{ONE}/metadata"
    await api.call("PUT", put, {"metadata": {"a": 1, "b": {"c": 2}}})
    for body, whole in (
        ({"updates": {"b": None, "d": 3}, "api_key": KEY}, {"a": 1, "b": None, "d": 3}),
        ({"updates": []}, {"a": 1, "b": None, "d": 3}),
        ({"metadata": []}, {}),
        ({"updates": {"updates": {}}}, {"updates": {}}),
    ):
        answer = await api.call("PUT", put, body)
        assert (answer.status, answer.json()["metadata"]) == (200, whole)
        assert await api.store.metadata(SESSION) == whole


async def test_metadata_that_are_no_object_are_neither_empty_nor_merged(api: Api) -> None:
    path = f"{ONE}/metadata"
    for kept in ('{"crm": 7}', [{"crm": 7}]):
        api.store.accounts[SESSION].metadata = kept
        for method, body in (("GET", None), ("PUT", {"updates": {"a": 1}})):
            answer = await api.call(method, path, body)
            assert answer.status == 409
            assert SESSION in answer.json()["error"]
        assert api.store.accounts[SESSION].metadata == kept
        assert (await api.call("PUT", path, {"metadata": {"a": 1}})).status == 200
        assert (await api.call("GET", path)).json()["metadata"] == {"a": 1}


async def test_metadata_of_a_row_that_has_just_gone(api: Api) -> None:
    del api.store.accounts[SESSION]
    for body in ({"updates": {"a": 1}}, {"metadata": {"a": 1}}, {"a": 1}):
        answer = await api.call("PUT", f"{ONE}/metadata", body)
        assert (answer.status, answer.json()) == (404, {"error": "Session not found"}), body


async def test_while_the_database_is_down_unknown_is_not_empty(api: Api) -> None:
    down = DatabaseUnavailableError("the database does not answer", retry_after=4.2)
    api.sessions.fail = down
    for method, path in (("GET", "/api/sessions"), ("GET", f"{ONE}/status"), ("DELETE", ONE)):
        answer = await api.call(method, path)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert answer.json() == {"error": "the database does not answer"}
    api.store.down = True
    reported = (await api.call("GET", "/health/detailed")).json()
    assert reported["details"] is None
    assert "answers" not in reported["database"]
    assert (await api.call("GET", "/health", key=None)).status == 200


async def test_a_bug_is_logged_once_and_says_nothing(api: Api) -> None:
    lines: list[str] = []
    sink = logger.add(lines.append, level="ERROR", format="{extra[request]} {message}\n{exception}")
    try:
        api.sessions.fail = RuntimeError("secret detail")
        answer = await api.call("GET", f"{ONE}/status")
    finally:
        logger.remove(sink)
    reported = answer.json()
    assert answer.status == 500
    assert reported["error"] == "unexpected error"
    assert b"secret" not in answer.content
    assert b"Traceback" not in answer.content
    assert len(lines) == 1
    assert reported["request_id"] in lines[0]
    assert "secret detail" in lines[0]
    api.sessions.fail = None
    assert (await api.call("GET", f"{ONE}/status")).status == 200


@pytest.mark.parametrize("timings", [Timings(request=0.05)])
class TestDeadline:
    async def test_a_change_goes_on_behind_it(self, api: Api) -> None:
        api.sessions.free.clear()
        answer = await api.call("DELETE", ONE)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
        assert "it continues" in answer.json()["error"]
        assert not api.sessions.done
        api.sessions.free.set()
        await wait_until(lambda: api.sessions.done == ["delete"], "the delete ends")

    async def test_a_read_is_given_up(self, api: Api) -> None:
        api.sessions.free.clear()
        answer = await api.call("GET", f"{ONE}/screenshot")
        assert answer.status == 503
        assert answer.json()["remedy"] == "try again"
        assert (await api.call("GET", f"{ONE}/status")).status == 200

    async def test_a_send_has_its_own(self, api: Api) -> None:
        api.sessions.free.clear()
        body = {"session_id": SESSION, "recipient_phone": "6281234567890", "message": "hi"}
        sending = asyncio.ensure_future(api.call("POST", "/api/messages/send", body))
        await wait_until(api.sessions.sends, "the send began")
        assert (await api.call("GET", f"{ONE}/screenshot")).status == 503  # a deadline later
        api.sessions.free.set()
        assert (await sending).status == 200


@pytest.mark.parametrize(
    ("changes", "can_send", "advice"),
    [
        ({}, True, None),
        ({"status": "qr_scanning"}, False, "scan"),
        ({"status": "authenticated"}, False, "wait"),
        ({"status": "failed", "disconnect_details": "blocked"}, False, "blocked"),
        ({"status": "disconnected"}, False, "reconnect"),
    ],
)
async def test_validate_says_whether_a_session_can_send(
    api: Api, changes: dict[str, Any], *, can_send: bool, advice: str | None
) -> None:
    api.sessions.known[SESSION] = a_view(**changes)
    reported = (await api.call("GET", f"/api/messages/{SESSION}/validate")).json()
    assert (reported["can_send"], reported["is_healthy"]) == (can_send, can_send)
    assert (
        reported["recommendations"] == []
        if advice is None
        else advice in reported["recommendations"][0]
    )


async def test_not_ready_carries_its_retry_after(api: Api) -> None:
    api.sessions.values.append(UnavailableError("Session not ready", retry_after=5))
    answer = await api.call("GET", f"{ONE}/screenshot")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
