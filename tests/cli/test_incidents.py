"""``waguard incidents`` and ``waguard top``."""

import argparse
import json
import time
from typing import Any, Final

import pytest

from tests.cli.fake_api import Answer, Api, said
from tests.cli.program import main
from waguard.cli import top
from waguard.cli.parsing import since

LISTED: Final[list[dict[str, Any]]] = [
    {
        "session_id": None,
        "began": "2026-11-25T09:00:00Z",
        "ended": "2026-11-25T09:05:01.5Z",
        "cause": "no default route",
    },
    {
        "session_id": "a",
        "began": "2026-11-25T09:01:00Z",
        "ended": None,
        "cause": "the browser is gone " * 9,
    },
]


@pytest.fixture
def asked(api: Api, monkeypatch: pytest.MonkeyPatch) -> Api:
    monkeypatch.setattr(time, "time", lambda: 86400.0 * 3)
    api.says(
        "GET /api/incidents/all?since=1970-01-03T00%3A00%3A00%2B00%3A00",
        Answer(200, {"incidents": LISTED}),
    )
    return api


def test_when_how_long_whose_and_why(asked: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["incidents"]) == 0
    head, first, second, hint = said(capsys)[0]
    assert head.split() == ["BEGAN", "TOOK", "SESSION", "CAUSE"]
    assert first.split(maxsplit=3) == ["2026-11-25T09:00:00Z", "5m", "(all)", "no default route"]
    assert second.split()[1:4] == ["goes", "on", "a"]
    assert len(second) == 100
    assert "waguard why" in hint
    assert main(["incidents", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"incidents": LISTED}


def test_those_that_go_on(asked: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["incidents", "--open", "--since", "24h", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"incidents": LISTED[1:]}


def test_without_incidents_a_line_says_so(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    path = "GET /api/incidents/all?since=2026-11-25T00%3A00%3A00%2B00%3A00"
    api.says(path, Answer(200, {"incidents": []}))
    assert main(["incidents", "--since", "2026-11-25"]) == 0
    assert said(capsys)[0] == ["no incidents recorded"]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("90s", 999_910.0),
        ("2m", 999_880.0),
        ("1h", 996_400.0),
        ("7d", 395_200.0),
        ("1970-01-01T00:00:05", 5.0),
        ("1970-01-01T01:00:05+01:00", 5.0),
    ],
)
def test_since_understands_moments_and_durations(
    text: str, at: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0)
    assert since(text) == at


@pytest.mark.parametrize("text", ["", "yesterday", "5", "-1h", "1w"])
def test_since_refuses_what_is_no_time(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        since(text)


# ---- top ----

SESSIONS: Final = [
    {
        "session_id": name,
        "workspace_id": workspace,
        "status": "connected",
        "phone_number": None,
        "connected_at": None,
        "cpu_percent": cpu,
        "memory_mb": 170.0,
        "restarts": 0,
    }
    for name, workspace, cpu in (("idle", 1, 0.1), ("down", 1, None), ("busy", 2, 97.0))
]
HEALTH: Final = {
    "status": "healthy",
    "sessions": {"total": 3, "connected": 3},
    "conditions": [],
    "details": SESSIONS,
}


def test_the_busiest_comes_first(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says("GET /health/detailed", Answer(200, HEALTH))
    assert main(["top"]) == 0, "once, where stdout is no terminal"
    out, _ = said(capsys)
    assert out[0].endswith("3 of 3 connected")
    assert [line.split()[0] for line in out[2:]] == ["busy", "idle", "down"]
    assert main(["top", "--once", "--workspace", "1"]) == 0
    assert [line.split()[0] for line in said(capsys)[0][2:]] == ["idle", "down"]


def test_a_frame_has_as_many_lines_as_fit() -> None:
    assert top.frame(iter("abc"), 2) == "\x1b[Ha\x1b[K\nb\x1b[J"


def test_top_goes_on_until_somebody_ends_it(
    api: Api, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while the daemon is away."""
    api.says("GET /health/detailed", Answer(200, HEALTH), Answer(503, {"error": "restarting"}))
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", wait)
    monkeypatch.setattr(top, "is_terminal", lambda: True)
    assert main(["top", "--interval", "0.1"]) == 0
    frames = capsys.readouterr().out.split("\x1b[H")
    assert "busy" in frames[1]
    assert "restarting" in frames[2]
    assert frames[2].endswith("\x1b[?25h\x1b[?1049l")
    assert waits == [0.5, 0.5]


@pytest.mark.parametrize("when", ["999999d", "0001-01-01T00:00+14:00", "9999-12-31T23:59-10:00"])
def test_a_time_of_no_calendar(capsys: pytest.CaptureFixture[str], when: str) -> None:
    for command in ("incidents", "audit"):
        with pytest.raises(SystemExit) as ended:
            main([command, "--since", when])
        assert ended.value.code == 2
        assert f"'{when}' is not a time" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [["top", "--interval"], ["status", "--timeout"]], ids=lambda it: it[0]
)
@pytest.mark.parametrize("seconds", ["-1", "nan", "1e300"])
def test_a_wait_of_no_clock(
    capsys: pytest.CaptureFixture[str], command: list[str], seconds: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command[:-1], f"{command[-1]}={seconds}"])
    assert ended.value.code == 2
    assert "is no number of seconds above 0" in capsys.readouterr().err
