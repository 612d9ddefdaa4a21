"""``waguard sessions``: one name, several, all of a workspace; what cannot be taken back asks."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.cli.fake_api import Answer, Api, said
from tests.cli.program import main
from tests.host.processes import clean_environment
from tests.waiting import DEADLINE
from waguard.cli.client import ApiCallError, ApiClient
from waguard.cli.sessions import TRIES, _when_up

LISTED: Final = [
    {"session_id": name, "workspace_id": workspace, "status": "connected", "phone_number": None}
    for name, workspace in (("alpha", 1), ("beta", 1), ("gamma", 2))
]
ALL: Final = Answer(200, {"sessions": LISTED, "total": 3})
DONE: Final = Answer(200, {"success": True, "status": "disconnected"})


@pytest.fixture
def three(api: Api) -> Api:
    """Sessions alpha and beta of workspace 1, gamma of 2; whatever is asked is done."""
    api.says("GET /api/sessions", ALL)
    api.says("GET /api/sessions?removed=1", ALL)
    for it in LISTED:
        one = f"/api/sessions/{it['session_id']}"
        for verb in ("start", "stop", "reconnect", "logout"):
            api.says(f"POST {one}/{verb}", DONE)
        api.says(f"DELETE {one}", DONE)
        api.says(f"DELETE {one}?purge=1", DONE)
    return api


def changes(api: Api) -> list[str]:
    """What was asked to be changed, in no order."""
    return sorted(request for request, _ in api.asked if not request.startswith("GET"))


def test_sessions_are_created(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    made = [Answer(201, {"session_id": name, "status": "qr_scanning"}) for name in "cd"]
    api.says("POST /api/sessions", *made)
    assert main(["sessions", "create", "c", "d", "--workspace", "7"]) == 0
    bodies = [body for _, body in api.asked]
    assert sorted(bodies, key=str) == [{"session_id": name, "workspace_id": 7} for name in "cd"]
    assert said(capsys)[0] == [f"{n}: qr_scanning; next: waguard qr {n}" for n in "cd"]


STARTING: Final = Answer(503, {"error": "the database does not answer yet"})


def test_one_is_created_as_soon_as_the_daemon_has_started(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Answer(201, {"session_id": "c", "status": "qr_scanning"})
    api.says("POST /api/sessions", *[STARTING] * TRIES, made)
    assert main(["sessions", "create", "c"]) == 0
    assert said(capsys)[0] == ["c: qr_scanning; next: waguard qr c"]


def test_a_start_that_does_not_end_is_not_waited_for_without_an_end(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    api.says("POST /api/sessions", STARTING)
    assert main(["sessions", "create", "c"]) == 1
    assert len(api.asked) == TRIES + 1
    assert "the database does not answer yet" in capsys.readouterr().err


IN_ANOTHER: Final = Answer(409, {"error": "it is in another workspace"})


def test_a_start_that_ends_at_the_last_try_was_not_waited_for_in_vain() -> None:
    """The next session is waited for as long."""
    for last in ("created", STARTING, IN_ANOTHER):
        answers = iter([*[STARTING] * TRIES, last])
        gave_up = threading.Event()

        def ask(answers: Iterator[Answer | str] = answers) -> str:
            answer = next(answers)
            if isinstance(answer, Answer):
                raise ApiCallError("no", answered=answer.status)
            return answer

        with contextlib.suppress(ApiCallError):
            _when_up(ApiClient("here", ""), 0.0, gave_up, ask)
        assert gave_up.is_set() is (last is STARTING)


def test_what_is_refused_is_not_asked_for_again(api: Api) -> None:
    api.says("POST /api/sessions", IN_ANOTHER)
    assert main(["sessions", "create", "c"]) == 1
    assert len(api.asked) == 1


@pytest.mark.parametrize(
    ("verb", "request_", "line"),
    [
        ("start", "POST /api/sessions/alpha/start", "alpha: disconnected"),
        ("stop", "POST /api/sessions/alpha/stop", "alpha: stopped; its pairing stays"),
        ("restart", "POST /api/sessions/alpha/reconnect", "alpha: disconnected"),
        ("reconnect", "POST /api/sessions/alpha/reconnect", "alpha: disconnected"),
    ],
)
def test_what_can_be_taken_back_does_not_ask(
    three: Api, capsys: pytest.CaptureFixture[str], verb: str, request_: str, line: str
) -> None:
    assert main(["sessions", verb, "alpha"]) == 0
    assert three.asked == [(request_, {})]
    assert said(capsys) == ([line], [])


UNLINKING: Final = [
    (["logout"], "POST /api/sessions/{}/logout"),
    (["delete"], "DELETE /api/sessions/{}"),
    (["delete", "--purge"], "DELETE /api/sessions/{}?purge=1"),
]


@pytest.mark.parametrize(("verb", "request_"), UNLINKING)
def test_what_unlinks_needs_the_word_where_nobody_can_be_asked(
    three: Api, capsys: pytest.CaptureFixture[str], verb: list[str], request_: str
) -> None:
    assert main(["sessions", *verb, "alpha"]) == 2
    assert main(["sessions", *verb, "--all"]) == 2
    assert changes(three) == []
    one, all_of_them = said(capsys)[1]
    assert one.startswith("waguard: --yes: session alpha will be unlinked")
    assert all_of_them.startswith("waguard: --yes: 3 sessions (alpha, beta, gamma) will be ")
    assert "unlinked" in one
    assert "--yes" in one
    assert main(["sessions", *verb, "alpha", "--yes"]) == 0
    assert changes(three) == [request_.format("alpha")]


@pytest.mark.parametrize(("answer", "done"), [("yes", True), ("", False)])
def test_a_terminal_is_asked(three: Api, answer: str, *, done: bool) -> None:
    """In a terminal of its own: the question is on it, and so is the answer."""
    controller, terminal = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "waguard", "sessions", "logout", "alpha", "beta"],
        env=clean_environment(),
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
    ) as asking_:
        os.close(terminal)
        reported = b""
        while not reported.endswith(b"go on: "):
            reported += os.read(controller, 4096)
        assert b"2 sessions (alpha, beta)" in reported
        os.write(controller, f"{answer}\n".encode())
        out, _ = asking_.communicate(timeout=45)
        os.close(controller)
    assert asking_.returncode == (0 if done else 1)
    both = [f"POST /api/sessions/{name}/logout" for name in ("alpha", "beta")]
    assert changes(three) == (both if done else [])
    assert out.splitlines() == (["alpha: logged out", "beta: logged out"] if done else [])


def test_all_of_a_workspace(three: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sessions", "stop", "--all", "--workspace", "1"]) == 0
    stopped = [f"POST /api/sessions/{name}/stop" for name in ("alpha", "beta")]
    assert changes(three) == stopped
    assert len(said(capsys)[0]) == 2
    assert main(["sessions", "stop", "--all", "--workspace", "9"]) == 0
    assert said(capsys)[0] == ["no sessions"]
    assert changes(three) == stopped


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ([], "SESSION"),
        (["alpha", "--all"], "SESSION"),
        (["--workspace", "1"], "SESSION"),
        (["alpha", "--workspace", "1"], "--workspace"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("verb", ["stop", "delete", "show"])
def test_a_verb_needs_the_name_of_a_session(
    three: Api,
    capsys: pytest.CaptureFixture[str],
    verb: str,
    arguments: list[str],
    field: str,
) -> None:
    yes = ["--yes"] if verb == "delete" else []
    assert main(["sessions", verb, *arguments, *yes]) == 2
    assert said(capsys)[1][0].startswith(f"waguard: {field}: ")
    assert three.asked == []


@pytest.mark.parametrize("option", ["--al", "--a", "--ye", "--y", "--pur"])
def test_no_option_is_meant_by_its_beginning(
    three: Api, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sessions", "delete", "alpha", "--yes", option])
    assert ended.value.code == 2
    assert option in capsys.readouterr().err
    assert three.asked == []


def test_one_that_fails_stops_no_other(three: Api, capsys: pytest.CaptureFixture[str]) -> None:
    three.says("POST /api/sessions/beta/stop", Answer(503, {"error": "busy", "remedy": "again"}))
    assert main(["sessions", "stop", "--all"]) == 1
    assert len(changes(three)) == 3
    out, err = said(capsys)
    assert [line.split(":")[0] for line in out] == ["alpha", "gamma"]
    assert err == ["waguard: beta: busy (again)"]
    assert main(["sessions", "stop", "--all", "--json"]) == 1
    results = json.loads(capsys.readouterr().out)["results"]
    assert [(it["session_id"], it["ok"]) for it in results] == [
        ("alpha", True),
        ("beta", False),
        ("gamma", True),
    ]
    assert (results[1]["error"], results[1]["remedy"]) == ("busy", "again")


def test_ctrl_c_ends_it_at_once_whatever_is_under_way(three: Api) -> None:
    free = threading.Event()

    def held(_: str) -> Answer:
        free.wait(DEADLINE)
        return DONE

    three.compute["POST /api/sessions/beta/start"] = held
    command = [sys.executable, "-um", "waguard", "sessions", "start", "--all"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=clean_environment()
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "alpha: disconnected\n"
            three.wait_for("POST /api/sessions/beta/start")
            process.send_signal(signal.SIGINT)
            assert process.wait(DEADLINE / 2) == 130
        finally:
            free.set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_session_with_the_name_of_the_daemons_command_can_be_waited_for(
    api: Api, number: signal.Signals
) -> None:
    api.held = threading.Event()
    command = [sys.executable, "-m", "waguard", "--config", "none.toml", "sessions", "show", "run"]
    Path("none.toml").touch()
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=clean_environment()) as process:
        try:
            api.wait_for("GET /api/sessions/run/status")
            process.send_signal(number)
            assert process.wait(DEADLINE / 2) in {130, -number}
        finally:
            process.kill()
            api.held.set()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("alphaa", "waguard: Session not found: alphaa (did you mean alpha?)"),
        ("x", "waguard: Session not found: x (see `waguard sessions list`)"),
    ],
)
def test_a_mistyped_session(
    three: Api, capsys: pytest.CaptureFixture[str], name: str, line: str
) -> None:
    for command in (["sessions", "stop"], ["sessions", "show"], ["why"], ["qr"]):
        assert main([*command, name]) == 1
        assert said(capsys) == ([], [line])
    assert main(["send", name, "6281", "hello"]) == 1
    assert said(capsys)[1] == [line]


def test_a_name_cannot_lead_to_another_address(api: Api) -> None:
    assert main(["sessions", "delete", "--yes", "../x?y#z/é"]) == 1
    assert api.asked[0][0] == "DELETE /api/sessions/..%2Fx%3Fy%23z%2F%C3%A9"


def test_no_sessions_and_what_to_do(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says("GET /api/sessions", Answer(200, {"sessions": []}))
    assert main(["sessions", "list"]) == 0
    assert said(capsys)[0] == ["no sessions: create one with `waguard sessions create NAME`"]


def test_a_list_of_names(three: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sessions", "list", "-o", "name"]) == 0
    assert said(capsys)[0] == ["alpha", "beta", "gamma"]
    assert main(["sessions", "list", "-o", "name", "--workspace", "2"]) == 0
    assert said(capsys)[0] == ["gamma"]
    assert main(["sessions", "list", "--json", "--workspace", "2"]) == 0
    assert json.loads(capsys.readouterr().out) == {"sessions": LISTED[2:], "total": 1}


SHOWN: Final = {
    **LISTED[0],
    "status": "failed",
    "worker_pid": None,
    "restarts": 0,
    "conditions": [
        {
            "message": "WhatsApp blocks it",
            "remedy": "Look at the phone.",
            "since": "2026-11-25T09:00:00Z",
        },
        {"message": "a dialog", "remedy": "Close it.", "since": "2026-11-25T09:00:01Z"},
    ],
}


def test_all_of_a_session(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says("GET /api/sessions/alpha/status", Answer(200, SHOWN))
    assert main(["sessions", "show", "alpha"]) == 0
    first, *rest = said(capsys)[0]
    assert first.startswith("alpha: failed since 2026-11-25T09:00:00Z (")
    assert rest[:4] == [
        "  ! WhatsApp blocks it",
        "    → Look at the phone.",
        "  ! a dialog",
        "    → Close it.",
    ]
    assert any(line.split() == ["restarts", "0"] for line in rest)
    assert not any("worker_pid" in line for line in rest)
    assert main(["sessions", "show", "alpha", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"sessions": [SHOWN]}


PICTURE: Final = Answer(200, b"\x89PNG picture", "image/png")


def test_a_picture_is_a_new_file_of_its_own(
    api: Api, short_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.says("GET /api/sessions/alpha/screenshot", PICTURE)
    assert main(["sessions", "screenshot", "alpha"]) == 0
    picture = short_path / "alpha.png"
    assert picture.read_bytes() == PICTURE.body
    assert picture.stat().st_mode & 0o777 == 0o600
    assert said(capsys)[0] == ["alpha.png"]
    picture.write_bytes(b"older")
    assert main(["sessions", "screenshot", "alpha"]) == 2
    assert "File exists" in said(capsys)[1][0]
    assert picture.read_bytes() == b"older"
    assert main(["sessions", "screenshot", "alpha", "other.png"]) == 0
    assert (short_path / "other.png").exists()


def test_a_picture_for_a_pipe(api: Api, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    api.says("GET /api/sessions/alpha/screenshot", PICTURE)
    assert main(["sessions", "screenshot", "alpha", "-"]) == 0
    assert capfdbinary.readouterr().out == PICTURE.body


PROXY: Final = {"server": "socks5://proxy.example:1080", "username": "me"}


def test_a_proxy_is_shown_set_and_removed_and_no_password_is_an_argument(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = "/api/sessions/alpha/proxy"
    for method, proxy in (("GET", PROXY), ("PUT", PROXY), ("DELETE", None)):
        api.says(f"{method} {path}", Answer(200, {"session_id": "alpha", "proxy": proxy}))
    assert main(["sessions", "proxy", "alpha"]) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("hunter2\nmore\n"))
    set_it = ["sessions", "proxy", "alpha", "--set", PROXY["server"]]
    assert main([*set_it, "--user", "me"]) == 0
    assert main(set_it) == 0
    assert main(["sessions", "proxy", "alpha", "--remove"]) == 0
    assert said(capsys)[0] == [
        *["alpha: socks5://proxy.example:1080, as me"] * 3,
        "alpha: no proxy of its own",
    ]
    login = {"username": "me", "password": "hunter2"}
    assert [body for request, body in api.asked if request.startswith("PUT")] == [
        {"server": PROXY["server"], **login},
        {"server": PROXY["server"]},
    ]
    assert main(["sessions", "proxy", "alpha", "--user", "me"]) == 2
    assert "--set" in said(capsys)[1][0]
