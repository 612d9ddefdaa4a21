"""A short campaign on real parts, and how it is refused and ended."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from tests.host.processes import clean_environment
from waguard.chaos.faults import FAULTS
from waguard.chaos.processes import MARK, scan
from waguard.cli import main

SEED, SESSIONS = 3, 2
# its first eight faults end the daemon, a worker, a browser, the database, an answer and a receiver
MESSAGES_SEED, MESSAGE_FAULTS_DRAWN, MESSAGES = 19703, 8, 160


def left_behind(folder: Path) -> list[str]:
    """Files, mounts and processes of a campaign that is over."""
    mounts = Path("/proc/mounts").read_text().splitlines()
    return [
        *map(str, folder.iterdir()),
        *(line for line in mounts if str(folder) in line),
        *(" ".join(p.argv) for p in scan() if p.marks.get(MARK, "").startswith(str(folder))),
    ]


async def campaign(folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    """Running; its world is made in ``folder``."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "waguard", "chaos", "--yes-break-things", *arguments),
        env=clean_environment() | {"TMPDIR": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


@pytest.mark.e2e
@pytest.mark.chromium
@pytest.mark.timeout(900)
async def test_a_short_campaign_breaks_nothing(tmp_path: Path, short_path: Path) -> None:
    report = tmp_path / "report.jsonl"
    running = await campaign(
        short_path,
        *("--seed", str(SEED), "--faults", str(len(FAULTS)), "--sessions", str(SESSIONS)),
        *("--report", str(report)),
    )
    told, _ = await running.communicate()
    assert running.returncode == 0, told.decode()
    (line,) = report.read_text().splitlines()
    outcome = json.loads(line)
    assert outcome["seed"] == SEED
    assert outcome["faults"] == len(FAULTS)
    assert outcome["broken"] == []
    assert outcome["manual_steps"] == 0
    # where a file system may be mounted each fault comes once, elsewhere one of them twice
    assert outcome["by_kind"].keys() | set(outcome["left_out"]) == FAULTS.keys()
    assert left_behind(short_path) == []


@pytest.mark.e2e
@pytest.mark.chromium
@pytest.mark.timeout(600)
async def test_meanwhile_no_message_is_lost_and_none_is_doubled(
    tmp_path: Path, short_path: Path
) -> None:
    report = tmp_path / "report.jsonl"
    running = await campaign(
        short_path,
        *("--seed", str(MESSAGES_SEED), "--faults", str(MESSAGE_FAULTS_DRAWN)),
        *("--messages", str(MESSAGES), "--sessions", str(SESSIONS), "--report", str(report)),
    )
    told, _ = await running.communicate()
    assert running.returncode == 0, told.decode()
    outcome = json.loads(report.read_text())
    assert outcome["faults"] == MESSAGE_FAULTS_DRAWN
    assert outcome["broken"] == []
    assert outcome["messages"]["incoming"] >= MESSAGES  # those of the faults themselves too
    assert sum(outcome["messages"]["outgoing"].values()) == MESSAGES // 4
    assert outcome["messages"]["outgoing"].keys() & {"sent", "delivered", "read"}
    assert left_behind(short_path) == []


@pytest.mark.e2e
@pytest.mark.chromium
@pytest.mark.timeout(180)
async def test_ctrl_c_leaves_nothing_running(short_path: Path) -> None:
    running = await campaign(short_path, "--faults", "100", "--sessions", "1")
    assert running.stdout
    async for line in running.stdout:
        if "✓" in line.decode():  # it is in the midst of it
            break
    running.send_signal(signal.SIGINT)
    await running.communicate()
    assert running.returncode == 130
    assert left_behind(short_path) == []


def test_it_is_refused_without_the_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chaos"]) == 2
    assert "--yes-break-things" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = str(tmp_path / "none/report")
    assert main(["chaos", "--yes-break-things", "--report", nowhere]) == 2
    assert nowhere in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--faults", "0"),
        ("--sessions", "0"),
        ("--messages", "-1"),
        ("--quiet", "0"),
        ("--database", "sqlite+aiosqlite:///x"),  # without --messages
    ],
)
def test_too_few(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chaos", "--yes-break-things", option, value]) == 2
    assert option in capsys.readouterr().err
