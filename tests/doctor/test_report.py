"""What is said of the checks: on a terminal, as JSON, and by the exit code."""

import pytest

from waguard.cutover.checks.plan import Step
from waguard.cutover.text import lines as cutover_lines
from waguard.doctor.report import (
    Check,
    Cli,
    SetMode,
    as_json,
    exit_code,
    failed,
    ok,
    skipped,
    warning,
    worst,
)
from waguard.doctor.text import lines

FINE = ok("port", "127.0.0.1:3001 is free")
SO_SO = warning("memory", "300 MB are left", "Give it more", "free -m")
BAD = failed("owners", "/x is\nopen", "Make it private", "chmod 600 /x", SetMode("/x", 0o600))
LEFT = skipped("network", "Chromium goes through a proxy")


@pytest.mark.parametrize(
    ("checks", "result", "code"),
    [
        ([FINE, LEFT], "ok", 0),
        ([FINE, SO_SO], "warning", 0),
        ([FINE, SO_SO, BAD], "failed", 5),
        ([], "ok", 0),
    ],
)
def test_the_worst_counts(checks: list[Check], result: str, code: int) -> None:
    assert worst(checks) == result
    assert exit_code(checks) == code


def test_a_person_reads_what_was_seen_and_what_to_do() -> None:
    assert list(lines([FINE, SO_SO, BAD, LEFT], ["/x has the mode 600"])) == [
        "ok      port            127.0.0.1:3001 is free",
        "warning memory          300 MB are left",
        "                        Give it more",
        "                        $ free -m",
        r"failed  owners          /x is\nopen",
        "                        Make it private",
        "                        $ chmod 600 /x",
        "skipped network         Chromium goes through a proxy",
        "",
        "repaired:",
        "  /x has the mode 600",
        "",
        "failed: something failed",
    ]


def test_a_machine_reads_the_same() -> None:
    answer = as_json([FINE, BAD], ["/x has the mode 600"])
    assert answer == {
        "result": "failed",
        "checks": [
            {
                "check": "port",
                "result": "ok",
                "seen": "127.0.0.1:3001 is free",
                "remedy": None,
                "command": None,
                "fixable": False,
            },
            {
                "check": "owners",
                "result": "failed",
                "seen": "/x is\nopen",
                "remedy": "Make it private",
                "command": "chmod 600 /x",
                "fixable": True,
            },
        ],
        "repairs": ["/x has the mode 600"],
    }


def test_the_steps_have_numbers() -> None:
    said = list(cutover_lines({Step.CRON: [FINE], Step.STOP: [BAD]}, [("Stop waguard", "stop")]))
    assert said[0] == "3. Remove the cron line that restarts the old service"
    assert said[2] == "4. Stop the old service"
    assert said[-3:] == ["The way back:", "1. Stop waguard", "   $ stop"]


def test_commands_name_the_file_that_the_doctor_was_given() -> None:
    assert Cli()("status") == "waguard status"
    assert Cli("/srv/w a.toml")("why s1") == "waguard why s1 --config '/srv/w a.toml'"
