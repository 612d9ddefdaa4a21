"""``waguard status``: one request, an exit code, columns that fit, what to do next."""

import json
import time
from typing import Any, Final

import pytest

from tests.cli.fake_api import Answer, Api, said
from tests.cli.program import main
from waguard.cli import render
from waguard.cli.rows import row
from waguard.cli.status import narrow

LINK: Final = {
    "session_id": "beta",
    "type": "link",
    "reason": "qr_pending",
    "message": "it waits for a scan",
    "remedy": "`waguard qr beta` shows the code to scan.",
    "since": "2026-11-25T09:00:00Z",
}
DIALOG: Final = LINK | {"type": "action_required", "message": "a dialog", "remedy": "Confirm it."}
ALPHA: Final = {
    "session_id": "alpha",
    "workspace_id": 1,
    "status": "connected",
    "phone_number": "6281180001",
    "connected_at": "2026-11-25T08:00:00Z",
    "lifecycle": "running",
    "link": "connected",
    "restarts": 0,
    "cpu_percent": 0.5,
    "memory_mb": 172.4,
    "worker_pid": 4711,
    "disconnect_reason": None,
    "conditions": [],
    "removed_at": None,
}
BETA: Final = ALPHA | {
    "session_id": "beta",
    "workspace_id": 2,
    "status": "qr_scanning",
    "phone_number": None,
    "conditions": [LINK],
}
GAMMA: Final = ALPHA | {
    "session_id": "gamma",
    "status": "disconnected",
    "disconnect_reason": "user_initiated",
}
DISK: Final = LINK | {
    "session_id": None,
    "type": "disk_low",
    "message": "97 MB",
    "remedy": "Free it.",
}
STRAY: Final = LINK | {"session_id": "old", "type": "profile_without_row", "message": "no row"}
ONE: Final = "GET /health/detailed"


def says(
    api: Api, *sessions: dict[str, Any], bad: bool = False, more: tuple[Any, ...] = ()
) -> dict[str, Any]:
    """What the daemon answers, and waguard's own part of it."""
    own = [it for session in sessions for it in session["conditions"]]
    health = {
        "status": "degraded" if bad else "healthy",
        "sessions": {"total": len(sessions), "connected": 1},
        "conditions": [*more, *own],
    }
    api.says(ONE, Answer(200, {**health, "details": list(sessions)}))
    return health


def test_what_runs_since_when_why_and_what_next(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    says(api, ALPHA, BETA, GAMMA)
    assert main(["status"]) == 0
    out, err = said(capsys)
    assert (err, [request for request, _ in api.asked], api.keys) == ([], [ONE], {None})
    summary, head, alpha, beta, scan, gamma, start = out
    assert summary == f"waguard at {api.url}: healthy, 1 of 3 connected, 1 to be scanned"
    assert head.split() == ["SESSION", "STATUS", "SINCE", "PHONE", "REASON"]
    assert alpha.split()[:2] == ["alpha", "connected"]
    assert alpha.split()[3:] == ["6281180001", "-"]
    assert beta.split(maxsplit=4)[3:] == ["-", "it waits for a scan"]
    assert scan == "    → `waguard qr beta` shows the code to scan."
    assert gamma.split(maxsplit=4)[1:] == ["disconnected", "-", "6281180001", "stopped on purpose"]
    assert start == "    → `waguard sessions start gamma`"


def test_who_is_down_by_the_application_says_so(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    says(api, GAMMA | {"disconnect_details": "the application switched the account off"})
    assert main(["status"]) == 0
    out, _ = said(capsys)
    assert out[2].endswith(" the application switched the account off")


def test_what_concerns_no_row_is_said_first(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    says(api, ALPHA | {"conditions": [LINK, DIALOG]}, bad=True, more=(DISK, STRAY))
    assert main(["status"]) == 5
    out, _ = said(capsys)
    assert out[0].startswith(f"waguard at {api.url}: degraded, ")
    assert out[1:4] == ["  ! 97 MB", "    → Free it.", "  ! old: no row"]
    assert out[-2:] == ["  ! a dialog", "    → Confirm it."]


def test_what_all_of_them_wait_for_is_said_once(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    waits = [
        BETA | {"session_id": it, "conditions": [DISK | {"session_id": it}]} for it in ("a", "b")
    ]
    says(api, *waits, bad=True, more=(DISK,))
    assert main(["status"]) == 5
    out, _ = said(capsys)
    assert out.count("    → Free it.") == 1
    assert [line.split()[-2:] for line in out[-2:]] == [["97", "MB"]] * 2


@pytest.mark.parametrize(
    ("kind", "database", "why"),
    [
        ("database_unknown", "it is another one", "the database, or the etcd, is not known"),
        ("lease_held", "answers", "another daemon has the database's lease"),
        ("host_without_lease", "answers", "this host is without its lease"),
        ("database_down", "no answer within 2 s", "the database does not answer"),
        ("restoring", "answers", "waguard has not read them yet"),
    ],
)
def test_sessions_that_are_unknown_are_not_none(
    api: Api, capsys: pytest.CaptureFixture[str], kind: str, database: str, why: str
) -> None:
    health = says(api, bad=True, more=(DISK | {"type": kind},))
    api.says(ONE, Answer(200, {**health, "details": None, "database": database}))
    assert main(["status"]) == 5
    [first, *_, last] = said(capsys)[0]
    assert first == f"waguard at {api.url}: degraded, the number of sessions is unknown"
    assert last.startswith(f"  The sessions are unknown: {why}")
    assert main(["status", "alpha"]) == 1
    assert f"the sessions are unknown: {why}" in said(capsys)[1][0]
    assert main(["status", "--json"]) == 5
    assert json.loads(capsys.readouterr().out)["sessions"] is None


@pytest.mark.parametrize(
    ("without", "words"),
    [(0, "0 sessions"), (1, "1 session"), (None, "an unknown number of sessions")],
)
def test_several_hosts_are_one_line(
    api: Api, capsys: pytest.CaptureFixture[str], without: int | None, words: str
) -> None:
    health = says(api, ALPHA)
    cluster = {"hosts": 3, "alive": 2, "without_owner": without}
    api.says(ONE, Answer(200, {**health, "details": [ALPHA], "cluster": cluster}))
    assert main(["status"]) == 0
    line = said(capsys)[0][1]
    assert line == f"  2 of 3 hosts live, {words} without a host: waguard hosts"


def test_status_as_json_has_health_and_sessions(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    health = says(api, ALPHA, BETA)
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"health": health, "sessions": [ALPHA, BETA]}
    assert main(["status", "--json", "--workspace", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["sessions"] == [BETA]


def test_wide_status_has_every_column(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    says(api, ALPHA, BETA)
    assert main(["status", "-o", "wide"]) == 0
    _, head, alpha, beta = said(capsys)[0]
    assert head.split()[-8:] == [
        "RESTARTS",
        "CPU_PERCENT",
        "MEMORY_MB",
        "WORKER_PID",
        "VERSION",
        "WAJS",
        "REASON",
        "NEXT",
    ]
    assert {"0.5", "172.4", "4711", "2026-11-25T08:00:00Z"} < set(alpha.split())
    assert beta.endswith("it waits for a scan  `waguard qr beta` shows the code to scan.")


def test_deleted_sessions_are_shown_where_asked_for(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = GAMMA | {"removed_at": "2026-11-25T09:00:00Z"}
    health = says(api, ALPHA)
    api.says(f"{ONE}?removed=1", Answer(200, {**health, "details": [ALPHA, gone]}))
    assert main(["status", "--all"]) == 0
    assert "deleted" in said(capsys)[0][-2]
    assert main(["status", "--all", "-o", "wide"]) == 0
    *_, head, first, second = said(capsys)[0]
    assert head.endswith("REMOVED_AT")
    assert first.endswith("-")
    assert second.endswith("2026-11-25T09:00:00Z")


def test_columns_fit_whatever_is_in_them() -> None:
    names = ("a", "webjs_1_1732240000_abcdefgh", "x" * 128)
    remedy = f"`waguard sessions restart {'x' * 60}` then {'look at the phone ' * 9}"
    wordy = LINK | {"message": "why " * 99, "remedy": remedy}
    sessions = [BETA | {"session_id": name, "conditions": [wordy, wordy]} for name in names]
    lines = list(narrow(sessions))
    assert max(map(len, lines)) == render.WIDTH
    assert any("webjs_1_1732240000_abcdefgh" in line for line in lines)
    assert any("x" * 39 + "…" in line for line in lines)


def test_a_narrow_terminal_gets_narrow_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    assert max(map(len, narrow([BETA | {"conditions": [LINK | {"message": "why " * 99}]}]))) == 72


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0s"),
        (59.4, "59s"),
        (60, "1m"),
        (3599, "59m"),
        (3660, "1h01m"),
        (90000, "1d1h"),
        (86400 * 3, "3d"),
        (86400 * 812 + 7200, "812d"),
    ],
)
def test_an_age_is_shown_in_its_largest_unit(seconds: float, text: str) -> None:
    assert render.age(seconds) == text


def test_since_is_of_the_status() -> None:
    assert row(ALPHA)["since"] == "2026-11-25T08:00:00Z"
    assert row(ALPHA | {"conditions": [DIALOG]})["since"] == "2026-11-25T08:00:00Z"
    assert row(BETA)["since"] == "2026-11-25T09:00:00Z"
    assert row(GAMMA)["since"] is None


@pytest.mark.parametrize(
    "session",
    [ALPHA | {"degraded": "acks are late"}, BETA | {"conditions": [], "waiting": "2 are starting"}],
)
def test_a_reason_that_is_no_condition(session: dict[str, Any]) -> None:
    assert row(session)["reason"] in {"acks are late", "2 are starting"}


def test_two_hundred_sessions_in_a_blink(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    """CPU time, which a busy machine does not stretch."""
    names = [f"session_{it}" for it in range(200)]
    says(
        api, *[BETA | {"session_id": it, "conditions": [LINK | {"session_id": it}]} for it in names]
    )
    began = time.process_time()
    assert main(["status"]) == 0
    assert time.process_time() - began < 0.3
    assert len(said(capsys)[0]) == 2 + 2 * 200


def test_some_sessions_alone(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    says(api, ALPHA, BETA | {"conditions": [LINK | {"degrades": True}]})
    assert main(["status", "alpha"]) == 0
    assert [line.split()[0] for line in said(capsys)[0]] == ["SESSION", "alpha"]
    assert main(["status", "beta", "--json"]) == 5
    assert [it["session_id"] for it in json.loads(capsys.readouterr().out)["sessions"]] == ["beta"]


def test_an_unknown_session_has_a_neighbour(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    says(api, ALPHA)
    api.says("GET /api/sessions?removed=1", Answer(200, {"sessions": [ALPHA]}))
    assert main(["status", "alphaa"]) == 1
    assert said(capsys)[1] == ["waguard: Session not found: alphaa (did you mean alpha?)"]


@pytest.mark.parametrize(
    ("problems", "ago", "said_of_it"),
    [([], 3.2, "renewed 3 s ago"), (["no answer"], None, "renewed when is unknown")],
)
def test_a_standby_names_the_holder(
    api: Api,
    capsys: pytest.CaptureFixture[str],
    problems: list[str],
    ago: float | None,
    said_of_it: str,
) -> None:
    waits = LINK | {"session_id": None, "type": "standby", "message": "as is meant"}
    down = LINK | {"session_id": None, "type": "database_down", "message": "no answer"}
    health = says(api) | {"status": "standby", "problems": problems, "details": None}
    health["conditions"] = [waits, *([down] if problems else ())]
    health["lease_holder"] = {"host": "be\nta", "renewed_ago": ago}
    api.says(ONE, Answer(200, health))
    assert main(["status"]) == (5 if problems else 0)
    [first, *more] = said(capsys)[0]
    assert first == f"waguard at {api.url}: standby, the lease is held by be\\nta, {said_of_it}"
    assert more[:1] == (["  ! no answer"] if problems else [])
    assert main(["status", "--json"]) == (5 if problems else 0)
    assert json.loads(capsys.readouterr().out)["sessions"] is None
