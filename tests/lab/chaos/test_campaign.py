"""Short campaigns on real parts, and how one is refused and ended."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.host.processes import clean_environment
from tests.seeds import WHOLE
from tests.store import servers
from tests.store.application import SqlApplication
from waguard.cli import main
from waguard.lab.chaos.campaign import chosen, known
from waguard.lab.chaos.drawing import draw
from waguard.lab.chaos.faults import FAULTS
from waguard.lab.chaos.kinds import COMING
from waguard.lab.chaos.message_faults import MESSAGE_FAULTS, WAYS
from waguard.lab.chaos.processes import MARK, scan

SEED, SESSIONS = 3, 2
VERSION_FAULTS = (
    "new version breaks sends",
    "new version lacks exports",
    "new version is never ready",
    "pinned version too old",
)
PAGE_FAULTS = ("page refused", "page hangs")  # WhatsApp is left alone for a minute or two
# its faults: jobs that are late, the installer, a read-only database, files that fail, a scan, and what cannot be
# decrypted at first
MESSAGES_SEED, MESSAGE_FAULTS_DRAWN, MESSAGES = 421, 6, 60
APPLICATION = ("receiver is read only", "receiver installs")
LONG_FAULTS, LONG_MESSAGES, LONG_SESSIONS = (60, 2_000, 4) if WHOLE else (24, 800, 4)
LONG_TIMEOUT = 5_400  # s; the application's limiter shuts for a minute, again and again


def left_behind(folder: Path) -> list[str]:
    """Files, mounts and processes of a campaign that is over."""
    mounts = Path("/proc/mounts").read_text().splitlines()
    return [
        *map(str, folder.iterdir()),
        *(line for line in mounts if str(folder) in line),
        *(" ".join(p.argv) for p in scan() if p.marks.get(MARK, "").startswith(str(folder))),
    ]


@asynccontextmanager
async def campaign(folder: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Running; its world is made in ``folder``. A test that is interrupted ends it in order."""
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "waguard", "chaos", "--yes-break-things", *arguments),
        env=clean_environment() | {"TMPDIR": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.send_signal(signal.SIGINT)
            await running.communicate()


@pytest.mark.e2e
@pytest.mark.chromium
@pytest.mark.long
@pytest.mark.timeout(900)
async def test_each_fault_heals(tmp_path: Path, short_path: Path) -> None:
    await each_heals(
        tmp_path,
        short_path,
        [name for name in FAULTS if name not in {*PAGE_FAULTS, *VERSION_FAULTS}],
    )


@pytest.mark.e2e
@pytest.mark.chromium
@pytest.mark.long
@pytest.mark.timeout(900)
async def test_whatsapp_is_not_asked_too_soon(tmp_path: Path, short_path: Path) -> None:
    await each_heals(tmp_path, short_path, PAGE_FAULTS)


@pytest.mark.e2e
@pytest.mark.chromium
@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_new_versions_are_left_without_a_person(tmp_path: Path, short_path: Path) -> None:
    await each_heals(tmp_path, short_path, VERSION_FAULTS)


@pytest.mark.e2e
@pytest.mark.chromium
@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_daemon_remembers_restarts_and_an_upgrade_adds_none(
    tmp_path: Path, short_path: Path
) -> None:
    """In this order."""
    names = ["kill worker", "other protocol"]
    assert [one.fault for one in draw(SEED, names, ["s1", "s2"], 2)] == names
    await each_heals(tmp_path, short_path, names)


async def each_heals(folder: Path, world: Path, names: Sequence[str]) -> None:
    report = folder / "report.jsonl"
    async with campaign(
        world,
        *("--seed", str(SEED), "--faults", str(len(names)), "--sessions", str(SESSIONS)),
        *(word for name in names for word in ("--only", name)),
        *("--report", str(report)),
    ) as running:
        reported, _ = await running.communicate()
    assert running.returncode == 0, reported.decode()
    (line,) = report.read_text().splitlines()
    outcome = json.loads(line)
    assert outcome["seed"] == SEED
    assert outcome["faults"] == len(names)
    assert outcome["broken"] == []
    assert outcome["manual_steps"] == 0
    # what cannot be done here is made up for by a second time of another one
    assert outcome["by_kind"].keys() | set(outcome["left_out"]) == set(names)
    assert all(kind["worst"] <= kind["bound"] for kind in outcome["by_kind"].values())
    assert left_behind(world) == []


@pytest.mark.e2e
@pytest.mark.chromium
@pytest.mark.timeout(300)
@pytest.mark.long
async def test_a_few_messages_are_accounted_for(tmp_path: Path, short_path: Path) -> None:
    await all_accounted_for(
        tmp_path,
        short_path,
        *("--seed", "1", "--faults", str(len(APPLICATION)), "--sessions", "1", "--messages", "12"),
        *(word for name in APPLICATION for word in ("--only", name)),
    )


@pytest.mark.e2e
@pytest.mark.chromium
@pytest.mark.timeout(600)
@pytest.mark.long
async def test_meanwhile_no_message_is_lost_and_none_is_doubled(
    tmp_path: Path, short_path: Path
) -> None:
    await all_accounted_for(
        tmp_path,
        short_path,
        *("--seed", str(MESSAGES_SEED), "--faults", str(MESSAGE_FAULTS_DRAWN)),
        *("--messages", str(MESSAGES), "--sessions", str(SESSIONS)),
    )


LONG = ("--faults", str(LONG_FAULTS), "--messages", str(LONG_MESSAGES))


@pytest.mark.e2e
@pytest.mark.chromium
@pytest.mark.long
@pytest.mark.timeout(LONG_TIMEOUT)
async def test_a_long_campaign(tmp_path: Path, short_path: Path) -> None:
    more = ("--seed", "8", "--sessions", str(LONG_SESSIONS))
    await all_accounted_for(tmp_path, short_path, *LONG, *more)


@pytest.fixture
async def elsewhere(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """The URL of an empty database; parametrized indirectly with the name of a server."""
    with getattr(servers, request.param)() as server:
        await SqlApplication(server.url(server.maintenance)).run_alone("CREATE DATABASE chaos")
        yield server.url("chaos")


@pytest.mark.e2e
@pytest.mark.chromium
@pytest.mark.long
@pytest.mark.timeout(LONG_TIMEOUT)
@pytest.mark.parametrize(
    ("elsewhere", "seed"), [("mariadb", "41"), ("postgresql", "2024")], indirect=["elsewhere"]
)
async def test_a_long_campaign_on_a_server(
    tmp_path: Path, short_path: Path, elsewhere: str, seed: str
) -> None:
    more = ("--seed", seed, "--sessions", str(LONG_SESSIONS), "--database", elsewhere)
    await all_accounted_for(tmp_path, short_path, *LONG, *more)


async def all_accounted_for(folder: Path, world: Path, *arguments: str) -> None:
    """A campaign with messages: nothing is lost, nothing doubled, and nothing left behind."""
    report = folder / "report.jsonl"
    async with campaign(world, *arguments, "--report", str(report)) as running:
        reported, _ = await running.communicate()
    for log in world.glob("*.log"):  # of one that broke something: evidence
        log.rename(folder / log.name)
    assert running.returncode == 0, reported.decode()
    outcome = json.loads(report.read_text())
    assert outcome["faults"] == int(arguments[arguments.index("--faults") + 1])
    assert outcome["broken"] == []
    messages = int(arguments[arguments.index("--messages") + 1])
    assert outcome["messages"]["incoming"] >= messages  # those of the faults themselves too
    sealed = outcome["by_kind"].get("undecryptable messages", {"count": 0})["count"]
    assert outcome["messages"]["undecryptable"] == len(WAYS) * sealed
    assert sum(outcome["messages"]["outgoing"].values()) == messages // 4
    assert outcome["messages"]["outgoing"].keys() & {"sent", "delivered", "read"}
    assert outcome["messages"]["kinds"].keys() <= COMING.keys()
    if messages >= LONG_MESSAGES:  # the world contains all of it
        assert outcome["messages"]["kinds"].keys() == COMING.keys()
        assert outcome["messages"]["acts"]["sent"] > messages / 10
        assert outcome["messages"]["votes"] > 2 * outcome["messages"]["votes_without_page"]
    assert left_behind(world) == []


@pytest.mark.e2e
@pytest.mark.chromium
@pytest.mark.timeout(180)
@pytest.mark.long
async def test_ctrl_c_leaves_nothing_running(short_path: Path) -> None:
    async with campaign(short_path, "--faults", "100", "--sessions", "1") as running:
        assert running.stdout
        async for line in running.stdout:
            if "✓" in line.decode():  # it is in the midst of it
                break
        running.send_signal(signal.SIGINT)
        await running.communicate()
    assert running.returncode == 130
    assert left_behind(short_path) == []


def test_a_campaign_is_refused_without_the_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chaos"]) == 2
    assert "--yes-break-things" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_reported_at_once(
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
        ("--only", "kill everybody"),
        ("--only", "no acks"),  # without --messages
    ],
)
def test_a_campaign_of_too_little_is_refused(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["chaos", "--yes-break-things", option, value]) == 2
    assert option in capsys.readouterr().err


def test_faults_are_chosen_by_name_for_each_kind_of_campaign() -> None:
    assert known(messages=False) == FAULTS
    assert known(messages=True) == MESSAGE_FAULTS
    assert {*PAGE_FAULTS, *VERSION_FAULTS} <= FAULTS.keys()


@pytest.mark.parametrize(
    ("only", "kept"),
    [((), [*FAULTS]), (("page hangs", "kill worker"), ["kill worker", "page hangs"])],
)
def test_what_is_drawn_from(only: tuple[str, ...], kept: list[str]) -> None:
    assert [*chosen(FAULTS, only)] == kept
