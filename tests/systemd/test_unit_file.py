"""What the shipped unit promises, against what the code takes."""

import shutil
import subprocess
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest

from waguard.api import app
from waguard.daemon import stop_sequence
from waguard.host.process import strays
from waguard.host.process.fork_server import Deadlines
from waguard.messaging.alerts import alerts
from waguard.supervision.timings import Timings

FOLDER = Path(__file__).parents[2] / "systemd"
MARGIN = 5.0  # s


def service(name: str) -> dict[str, str]:
    unit = ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # its own documentation's way
    unit.read(FOLDER / name)
    return dict(unit["Service"])


def test_an_orderly_stop_fits_into_its_time() -> None:
    patience = stop_sequence.PATIENT
    webhooks = max(patience.webhooks + patience.answer, patience.sends)
    # in a cluster they leave meanwhile, from the same moment on; rows and shared credentials in parallel
    ended = max(Timings().stop_grace, patience.releases)
    sessions = ended + max(Timings().last_write, patience.credentials)
    session_events = stop_sequence.DRAIN * 2
    rest = app.SHUTDOWN_TIMEOUT + Deadlines().closing + alerts.ANSWER_WITHIN
    allowed = float(service("waguard.service")["TimeoutStopSec"])
    assert webhooks + sessions + session_events + rest + MARGIN <= allowed


def test_a_container_has_time_to_close_its_browsers_before_it_is_killed() -> None:
    """`docker stop` kills after 10 s; a Chromium needs seconds at most."""
    patience = stop_sequence.HASTY
    assert max(patience.webhooks + patience.answer, patience.sends) <= 3.0
    assert patience.credentials <= 1.0


def test_so_does_what_comes_after_one_that_hung() -> None:
    timings = strays.Timings()
    workers = timings.worker_grace * 2
    browsers = timings.follows + timings.browser_grace * 2
    allowed = float(service("waguard.service")["TimeoutStopSec"])
    assert workers + browsers + MARGIN <= allowed


def test_the_unit_does_not_start_without_the_disk_of_its_state() -> None:
    unit = ConfigParser(strict=False, interpolation=None)
    unit.read(FOLDER / "waguard.service")
    reported = service("waguard.service")
    assert unit["Unit"]["RequiresMountsFor"] == f"/var/lib/{reported['StateDirectory']}"


def test_the_unit_is_restarted_at_once_later_and_later_and_for_ever() -> None:
    unit = ConfigParser(strict=False, interpolation=None)
    unit.read(FOLDER / "waguard.service")
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    wanted = {
        "Type": "notify-reload",
        "RestartKillSignal": "SIGUSR2",
        "Restart": "on-failure",
        "RestartSec": "100ms",
        "RestartSteps": "20",
        "RestartMaxDelaySec": "60",
        "RestartPreventExitStatus": "2 3",
        "KillMode": "process",
        "FileDescriptorStoreMax": "4",
    }
    reported = service("waguard.service")
    assert {name: reported[name] for name in wanted} == wanted
    assert " sweep " in reported["ExecStopPost"]


def test_a_unit_that_is_given_up_is_reported_by_a_unit_of_its_own() -> None:
    unit = ConfigParser(strict=False, interpolation=None)
    unit.read(FOLDER / "waguard.service")
    reporting = service(unit["Unit"]["OnFailure"])
    backup = ConfigParser(strict=False, interpolation=None)
    backup.read(FOLDER / "waguard-backup.service")
    assert backup["Unit"]["OnFailure"] == unit["Unit"]["OnFailure"]
    assert " alerts failed --config " in reporting["ExecStart"]
    assert reporting["User"] == service("waguard.service")["User"]


def test_an_older_systemd_keeps_one_pace_and_a_limit() -> None:
    old = (FOLDER / "before-254.conf").read_text()
    assert "StartLimitBurst=10" in old
    assert service("before-254.conf") == {
        "RestartSec": "1",
        "Type": "notify",
        "ExecReload": "/bin/kill -HUP $MAINPID",
    }


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")
def test_the_exposure_of_the_unit_is_at_most_2() -> None:
    # it fails above the threshold, which is in tenths
    command = ("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20")
    done = subprocess.run(
        [*command, str(FOLDER / "waguard.service")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout.splitlines()[-1]
    assert " 2.0 OK" in done.stdout


def test_the_file_names_the_paths_and_the_unit_none() -> None:
    unit = (FOLDER / "waguard.service").read_text()
    assert "WAGUARD_" not in unit
    folders = service("waguard.service")
    paths = tomllib.loads((FOLDER.parent / "etc/waguard.toml").read_text())["paths"]
    assert paths == {
        "sessions": f"/var/lib/{folders['StateDirectory']}/sessions",
        "state": f"/var/lib/{folders['StateDirectory']}/state",
        "runtime": f"/run/{folders['RuntimeDirectory']}",
    }


def test_the_socket_is_at_the_address_of_the_file() -> None:
    unit = ConfigParser(strict=False, interpolation=None)
    unit.read(FOLDER / "waguard.socket")
    api = tomllib.loads((FOLDER.parent / "etc/waguard.toml").read_text())["api"]
    assert unit["Socket"]["ListenStream"] == f"{api['host']}:{api['port']}"
