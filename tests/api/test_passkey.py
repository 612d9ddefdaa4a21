"""The routes of a linking by passkey."""

from typing import Any, Final

import pytest

from tests.api.conftest import Api
from tests.api.fake_sessions import SESSION
from tests.passkeys import Passkey, request
from waguard.core.passkey import GONE, SENTENCES, Gone, Wrong
from waguard.core.passkey_link import PasskeyStage
from waguard.errors import ConflictError, RefusedError, UnavailableError, WaguardError
from waguard.ports.passkeys import PasskeyView

PATH: Final = f"/api/sessions/{SESSION}/passkey"
BY: Final = "the application"
NOTHING: Final = {
    "success": True,
    "session_id": SESSION,
    "stage": None,
    "until": None,
    "expires_in": None,
    "unattended_until": None,
    "code": None,
    "error": None,
}
ASKED: Final = request()
SIGNED: Final = Passkey().sign(ASKED)
ANSWER: Final = {"request": "r", "assertion": SIGNED}


async def test_without_a_linking_by_passkey_there_is_no_stage(api: Api) -> None:
    answer = await api.call("GET", PATH)
    assert (answer.status, answer.json()) == (200, NOTHING)


async def test_each_stage_says_for_how_long_it_lasts(api: Api) -> None:
    for stage in PasskeyStage:
        api.passkeys.shown = PasskeyView(
            stage=stage,
            until=1_732_233_600.4,
            expires_in=99.6,
            unattended_until=1_732_233_300.0,
            code="ABCD-1234",
            error="timeout",
        )
        answer = await api.call("GET", PATH)
        assert (answer.status, answer.json()) == (
            200,
            {
                **NOTHING,
                "stage": str(stage),
                "until": "2024-11-22T00:00:00Z",
                "expires_in": 100,
                "unattended_until": "2024-11-21T23:55:00Z",
                "code": "ABCD-1234",
                "error": "timeout",
            },
        )


async def test_the_options_stand_in_the_reply_to_a_start(api: Api) -> None:
    api.passkeys.options = ASKED
    answer = await api.call("POST", f"{PATH}/start", {})
    assert answer.status == 200
    assert answer.json() == {
        "success": True,
        "session_id": SESSION,
        "request": "r",
        "options": ASKED,
        "expires_in": 600,
    }
    assert answer.headers["Cache-Control"] == "no-store"
    assert api.passkeys.calls == [("start", BY)]


async def test_an_answer_is_passed_on_and_the_new_stage_returned(api: Api) -> None:
    api.passkeys.shown = PasskeyView(stage=PasskeyStage.ANSWERED, expires_in=120.0)
    answer = await api.call("POST", f"{PATH}/answer", ANSWER)
    assert (answer.status, answer.json()["stage"]) == (202, "answered")
    assert api.passkeys.calls == [("answer", "r", SIGNED, BY)]


async def test_a_code_is_confirmed_and_a_request_refused(api: Api) -> None:
    api.passkeys.shown = PasskeyView(stage=PasskeyStage.CONFIRM, code="ABCD-1234")
    answer = await api.call("POST", f"{PATH}/confirm", {"code": "abcd 1234"})
    assert (answer.status, answer.json()["code"]) == (202, "ABCD-1234")
    api.passkeys.shown = PasskeyView(stage=PasskeyStage.FAILED, error="cancelled")
    answer = await api.call("DELETE", PATH)
    assert (answer.status, answer.json()["stage"], answer.json()["error"]) == (
        *(200, "failed", "cancelled"),
    )
    await api.call("DELETE", PATH, {"request": "r"})
    assert api.passkeys.calls == [
        *(("confirm", "abcd 1234", BY), ("cancel", None, BY), ("cancel", "r", BY))
    ]


@pytest.mark.parametrize("name", ["", 7, SIGNED, "r" * 129])
async def test_who_refuses_something_else_than_a_request_refuses_nothing(
    api: Api, name: object
) -> None:
    answer = await api.call("DELETE", PATH, {"request": name})
    assert (answer.status, answer.json()["field"], api.passkeys.calls) == (400, "request", [])


FAILURES: Final[list[tuple[WaguardError, int]]] = [
    *((RefusedError(f"{it}: {SENTENCES[it]}", field="assertion"), 422) for it in Wrong),
    *(
        (ConflictError(f"{it}: {GONE[it]}; now", field="request", remedy="Start."), 409)
        for it in Gone
    ),
    (UnavailableError("the worker is gone", retry_after=5), 503),
]


@pytest.mark.parametrize(("error", "status"), FAILURES)
async def test_what_cannot_be_answered_says_why(api: Api, error: WaguardError, status: int) -> None:
    api.passkeys.fail = error
    answer = await api.call("POST", f"{PATH}/answer", ANSWER)
    said = {"error": error.message, "field": error.field, "remedy": error.remedy}
    assert answer.status == status
    assert answer.json() == {name: value for name, value in said.items() if value}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("answer", {}, "request"),
        ("answer", {"request": "", "assertion": SIGNED}, "request"),
        ("answer", {"request": SIGNED, "assertion": SIGNED}, "request"),
        ("answer", {"request": SIGNED["response"]["signature"] * 9}, "request"),
        ("confirm", {}, "code"),
        ("confirm", {"code": 12_345_678}, "code"),
        ("confirm", {"code": SIGNED["response"]["signature"]}, "code"),
    ],
)
async def test_what_is_sent_in_a_wrong_place_is_not_quoted(
    api: Api, path: str, body: dict[str, Any], field: str
) -> None:
    answer = await api.call("POST", f"{PATH}/{path}", body)
    assert (answer.status, answer.json()["field"]) == (400, field)
    assert SIGNED["response"]["signature"].encode() not in answer.content
    assert api.passkeys.calls == []


async def test_a_missing_assertion_is_a_wrong_answer(api: Api) -> None:
    await api.call("POST", f"{PATH}/answer", {"request": "r"})
    assert api.passkeys.calls == [("answer", "r", None, BY)]


async def test_an_answer_beyond_the_bodys_limit_is_not_read(api: Api) -> None:
    answer = await api.call("POST", f"{PATH}/answer", {**ANSWER, "more": "x" * (1 << 20)})
    assert (answer.status, api.passkeys.calls) == (413, [])
