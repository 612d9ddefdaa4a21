"""``waguard reconcile``."""

import json
from typing import Final

import pytest

from tests.cli.fake_api import Answer, Api, said
from tests.cli.program import main

DIFFERENCE: Final = {
    "corrections": [
        {
            "session": "a",
            "action": "correct row",
            "before": "error",
            "after": "connected",
            "reason": "the row lied",
        }
    ],
    "findings": [
        {
            "session": "old",
            "kind": "profile_without_row",
            "about": "there is no row",
            "remedy": "`waguard sessions create old`",
        }
    ],
}


def test_a_dry_run_shows_the_plan_as_a_table(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says("GET /api/reconcile", Answer(200, DIFFERENCE))
    assert main(["reconcile", "--dry-run"]) == 0
    out, _ = said(capsys)
    assert out[0].split() == ["SESSION", "ACTION", "BEFORE", "AFTER", "REASON"]
    assert out[1].split("  ")[:1] == ["a"]
    assert "the row lied" in out[1]
    assert out[2:] == ["  ! old: there is no row", "    → `waguard sessions create old`"]
    assert main(["reconcile", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == DIFFERENCE


def test_what_is_only_found_is_no_agreement(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says("GET /api/reconcile", Answer(200, DIFFERENCE | {"corrections": []}))
    assert main(["reconcile", "--dry-run"]) == 0
    assert said(capsys)[0][0] == "  ! old: there is no row"


def test_a_reconcile_says_what_it_did(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    done = {"corrections": DIFFERENCE["corrections"]}
    api.says("POST /api/reconcile", Answer(200, done), Answer(200, {"corrections": []}))
    assert main(["reconcile"]) == 0
    assert "correct row" in said(capsys)[0][1]
    assert main(["reconcile"]) == 0
    assert said(capsys)[0] == ["database, memory and host agree"]
