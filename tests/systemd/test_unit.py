"""The shipped unit under a real systemd, with a real Chromium and its own sandbox on."""

import contextlib
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.ports import reserved_port
from tests.systemd.namespace import SystemdNamespace, missing, systemd_namespace
from waguard.cli.client import ApiCallError, ApiClient
from waguard.standin import Policy, StandIn

CHECKOUT = Path(__file__).parents[2]
UNIT = "waguard.service"
WRAPPER = """#!/bin/sh
PYTHONPATH=/opt/checkout exec /opt/venv/bin/python3 -P -m waguard "$@"
"""
# a daemon that blocks when it is told to stop; systemd wakes one that was only stopped
HANGS = """import sys, time
from waguard import cli, daemon
daemon.Daemon._on_stop = lambda *_: time.sleep(600)
sys.exit(cli.main())
"""
HANGING_WRAPPER = f"""#!/bin/sh
export PYTHONPATH=/opt/checkout
[ "$1" = run ] || exec /opt/venv/bin/python3 -P -m waguard "$@"
exec /opt/venv/bin/python3 -P -c "{HANGS}" "$@"
"""
WAGUARD = "/opt/waguard/.venv/bin/waguard"
CONFIG = "/etc/waguard/waguard.toml"
DROP_INS = f"/etc/systemd/system/{UNIT}.d"
AS_WAGUARD = ("setpriv", "--reuid=waguard", "--regid=waguard", "--init-groups")
AS_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")


def configure(systemd: SystemdNamespace, *changes: tuple[str, str]) -> None:
    """Install the shipped file as README.md says, on a free port and with these lines changed."""
    text = (CHECKOUT / "etc/waguard.toml").read_text()
    for old, new in (("port = 3001", "port = 0"), *changes):
        assert old in text
        text = text.replace(old, new, 1)
    systemd.put(CONFIG, text, 0o640)
    assert systemd.run("chgrp", "waguard", CONFIG).returncode == 0


def why_not() -> str | None:
    base = Path(sys.executable).resolve()
    if base.is_relative_to("/root") or base.is_relative_to("/home"):
        return "needs Debian's Python: the unit's ProtectHome hides one below a home"
    return missing()


pytestmark = [
    pytest.mark.chromium,
    pytest.mark.timeout(300),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


@pytest.fixture(scope="module")
def systemd() -> Iterator[SystemdNamespace]:
    binds = {CHECKOUT: "/opt/checkout", Path(sys.prefix): "/opt/venv"}
    with systemd_namespace(binds) as namespace:
        namespace.run("useradd", "--system", "--home-dir", "/var/lib/waguard", "waguard")
        namespace.put(WAGUARD, WRAPPER, 0o755)
        namespace.put("/opt/waguard/README.md", "")
        unit = (CHECKOUT / "systemd/waguard.service").read_text()
        namespace.put(f"/etc/systemd/system/{UNIT}", unit)
        namespace.put("/etc/systemd/system/waguard-second.service", unit)
        namespace.put(
            f"{DROP_INS}/test.conf",
            "[Service]\nTimeoutStopSec=60\n",  # a busy machine stops Chromium slowly
        )
        configure(namespace)
        namespace.systemctl("daemon-reload")
        yield namespace


@pytest.fixture
def running(systemd: SystemdNamespace) -> Iterator[SystemdNamespace]:
    systemd.systemctl("reset-failed")
    systemd.systemctl("start", UNIT)
    yield systemd
    systemd.systemctl("stop", UNIT)


def api(systemd: SystemdNamespace) -> ApiClient:
    told = json.loads((systemd.root / "run/waguard/waguard.pid").read_text())
    key_file = systemd.root / "var/lib/waguard/state/api-key"
    return ApiClient(told["api"], key_file.read_text().split()[-1])


def until(systemd: SystemdNamespace, look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            if found := look():
                return found
        except (ApiCallError, OSError):
            pass
        time.sleep(0.05)
    raise AssertionError(systemd.journal(UNIT)[-5000:])


def status(systemd: SystemdNamespace, wanted: str) -> Callable[[], dict[str, Any] | None]:
    def look() -> dict[str, Any] | None:
        client = api(systemd)
        told: dict[str, Any] = client.call("GET", client.session("s1", "/status"))
        # a new daemon says at once how the session stands, its worker's word comes a moment later
        return told if told["status"] == wanted and told["browser_pid"] else None

    return look


def processes(systemd: SystemdNamespace) -> list[str]:
    return systemd.run("pgrep", "-u", "waguard", "-a").stdout.splitlines()


def test_systemd_finds_no_fault_in_the_unit(systemd: SystemdNamespace) -> None:
    verified = systemd.run("systemd-analyze", "verify", f"/etc/systemd/system/{UNIT}")
    assert (verified.returncode, verified.stderr) == (0, "")


def test_it_says_when_it_is_ready_and_what_it_does(running: SystemdNamespace) -> None:
    shown = running.wait(UNIT, ActiveState="active", StatusText="no session")
    assert shown["Type"] == "notify"
    assert "waguard is up" in running.journal(UNIT)


def command(
    systemd: SystemdNamespace, *arguments: str, user: Sequence[str] = (), folder: str = "/"
) -> "subprocess.CompletedProcess[str]":
    """The installed command line, from ``folder``."""
    there = ("env", "-i", "-C", folder, "PATH=/usr/bin:/bin")
    return systemd.run(*user, *there, WAGUARD, *arguments)


@pytest.mark.parametrize("user", [(), AS_WAGUARD], ids=["root", "waguard"])
def test_the_command_line_finds_its_daemon(
    running: SystemdNamespace, user: tuple[str, ...]
) -> None:
    running.wait(UNIT, StatusText="no session")
    asked = command(running, "status", user=user)
    assert (asked.returncode, asked.stderr) == (0, "")
    assert asked.stdout.startswith("waguard at http://127.0.0.1:")
    for words in (["why"], ["reconcile", "--dry-run"], ["sessions", "list"], ["config", "check"]):
        asked = command(running, *words, user=user)
        assert (asked.returncode, asked.stderr) == (0, ""), words
    shown = json.loads(command(running, "config", "show", "--json", user=user).stdout)
    assert shown["file"] == CONFIG
    assert {row["source"] for row in shown["keys"]} == {"file", "default"}


def test_the_journal_has_fields_and_the_command_line_reads_it(running: SystemdNamespace) -> None:
    running.wait(UNIT, StatusText="no session")
    found = running.run("journalctl", "-o", "json", "-u", UNIT, "-n", "1", "EVENT=daemon_up")
    entry = json.loads(found.stdout)
    pid = running.show(UNIT)["MainPID"]
    assert entry["MESSAGE"].startswith("waguard is up api=http://127.0.0.1:")
    assert (entry["PRIORITY"], entry["SYSLOG_IDENTIFIER"], entry["_PID"]) == ("6", "waguard", pid)
    shown = command(running, "logs", "--json", "--level", "info")
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = [json.loads(line) for line in shown.stdout.splitlines()]
    assert any(line.get("event") == "daemon_up" and line["pid"] == int(pid) for line in lines)
    assert any(line.get("program") == "systemd" for line in lines), "what systemd says of it"


def test_another_user_is_refused_and_told_who_to_be(running: SystemdNamespace) -> None:
    refused = command(running, "status", user=AS_NOBODY)
    assert refused.returncode == 2
    assert f"{CONFIG} cannot be read: Permission denied (run this as root" in refused.stderr
    # also with a configuration of its own that names the runtime folder
    own = "/tmp/own.toml"
    running.put(own, "[paths]\nruntime = '/run/waguard'\n")
    refused = command(running, "status", "--config", own, user=AS_NOBODY)
    assert refused.returncode == 1
    assert "permission denied (run this as root, or as waguard)" in refused.stderr


def test_without_a_daemon_the_command_line_says_so(systemd: SystemdNamespace) -> None:
    refused = command(systemd, "status")
    assert refused.returncode == 1
    assert "no waguard runs here (/run/waguard/waguard.sock: " in refused.stderr


def test_folders_elsewhere_need_the_drop_in_that_is_printed(systemd: SystemdNamespace) -> None:
    configure(systemd, ("/var/lib/waguard/sessions", "/srv/waguard/sessions"))
    systemd.systemctl("reset-failed")
    try:
        assert systemd.run("systemctl", "start", UNIT).returncode != 0
        shown = systemd.wait(UNIT, ActiveState="failed")
        assert (shown["ExecMainStatus"], shown["NRestarts"]) == ("2", "0")
        assert "`waguard config check` says what to add" in systemd.journal(UNIT)

        checked = command(systemd, "config", "check")
        assert checked.returncode == 2
        assert "paths.sessions: /srv/waguard/sessions cannot be written" in checked.stderr
        made, _, *lines = checked.stdout.splitlines()
        assert systemd.run("sh", "-c", made.partition(": ")[2]).returncode == 0
        with drop_in(systemd, "paths.conf", "\n".join(lines)):
            assert command(systemd, "config", "check").returncode == 0
            systemd.systemctl("start", UNIT)
            systemd.wait(UNIT, StatusText="no session")
            systemd.systemctl("stop", UNIT)
    finally:
        configure(systemd)


def test_what_lies_where_an_older_file_had_it_is_not_forgotten(systemd: SystemdNamespace) -> None:
    """A file of an earlier version has relative paths, which began at the working folder."""
    systemd.put(CONFIG, "[api]\nport = 0\n")
    profile = "/var/lib/waguard/sessions/workspace_1/session-old"
    try:
        assert systemd.run("install", "-d", "-o", "waguard", "-m", "0700", profile).returncode == 0
        systemd.systemctl("reset-failed")
        assert systemd.run("systemctl", "start", UNIT).returncode != 0
        shown = systemd.wait(UNIT, ActiveState="failed")
        assert (shown["ExecMainStatus"], shown["NRestarts"]) == ("2", "0")
        journal = systemd.journal(UNIT)
        assert "there are profiles in /var/lib/waguard/sessions" in journal
        assert "not in /etc/waguard/sessions" in journal
    finally:
        systemd.run("rm", "-r", "/var/lib/waguard/sessions/workspace_1")
        configure(systemd)


def test_a_variable_that_hides_a_key_is_logged(systemd: SystemdNamespace) -> None:
    systemd.systemctl("reset-failed")
    with drop_in(systemd, "hides.conf", "[Service]\nEnvironment=WAGUARD_LOG__LEVEL=WARNING\n"):
        systemd.systemctl("start", UNIT)
        systemd.systemctl("stop", UNIT)
    assert f"WAGUARD_LOG__LEVEL=WARNING of the environment hides log.level = INFO of {CONFIG}" in (
        systemd.run("journalctl", "-o", "cat", "-p", "warning", "-u", UNIT).stdout
    )


def test_a_second_instance_is_not_restarted(running: SystemdNamespace) -> None:
    running.run("systemctl", "start", "waguard-second.service")
    shown = running.wait("waguard-second.service", ActiveState="failed")
    assert (shown["ExecMainStatus"], shown["NRestarts"]) == ("3", "0")
    errors = running.run("journalctl", "-o", "cat", "-p", "err", "-u", "waguard-second").stdout
    assert "another instance holds" in errors
    running.wait(UNIT, ActiveState="active")


@contextlib.contextmanager
def hasty(systemd: SystemdNamespace, limits: str) -> Iterator[None]:
    """With deadlines that a test waits for; others would take a slow start for a fault."""
    with drop_in(systemd, "zz-hasty.conf", f"[Service]\n{limits}\n"):
        yield


@contextlib.contextmanager
def drop_in(systemd: SystemdNamespace, name: str, text: str) -> Iterator[None]:
    path = f"{DROP_INS}/{name}"
    systemd.put(path, text)
    systemd.systemctl("daemon-reload")
    try:
        yield
    finally:
        (systemd.root / path.lstrip("/")).unlink()
        systemd.systemctl("daemon-reload")


def test_a_daemon_that_hangs_is_replaced(systemd: SystemdNamespace) -> None:
    systemd.systemctl("reset-failed")
    with hasty(systemd, "WatchdogSec=3\nTimeoutAbortSec=3"):
        systemd.systemctl("start", UNIT)
        before = systemd.wait(UNIT, ActiveState="active", SubState="running")
        systemd.systemctl("kill", "-s", "STOP", "--kill-whom=main", UNIT)
        after = systemd.wait(UNIT, ActiveState="active", SubState="running", NRestarts="[1-9]")
        assert after["MainPID"] != before["MainPID"]
        assert "Watchdog timeout" in systemd.run("journalctl", "-o", "cat").stdout
        systemd.systemctl("stop", UNIT)


def test_a_port_in_use_is_waited_for_with_growing_pauses(systemd: SystemdNamespace) -> None:
    with reserved_port() as port:
        _wait_for_port(systemd, port)
    configure(systemd)


def _wait_for_port(systemd: SystemdNamespace, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        configure(systemd, ("port = 0", f"port = {port}"))
        systemd.systemctl("reset-failed")
        systemd.run("systemctl", "start", "--no-block", UNIT)
        shown = systemd.wait(UNIT, NRestarts="[4-9]|1.", ActiveState="activating")
        assert shown["ExecMainStatus"] in {"0", "4"}
    # longer than the first pause, shorter than the longest
    assert 100_000 < duration(systemd.show(UNIT)["RestartUSecNext"]) < 60_000_000
    systemd.wait(UNIT, ActiveState="active")
    systemd.systemctl("stop", UNIT)


def duration(shown: str) -> float:
    """Microseconds of "1min 2.5s"."""
    units = {"ms": 1e3, "min": 6e7, "s": 1e6, "us": 1.0}
    parts = re.findall(r"([0-9.]+)(ms|min|us|s)", shown)
    return sum(float(number) * units[unit] for number, unit in parts)


@pytest.mark.parametrize("hangs", [False, True], ids=["it obeys", "it hangs"])
async def test_a_session_outlives_a_killed_daemon_and_a_stop_ends_all(
    systemd: SystemdNamespace, *, hangs: bool
) -> None:
    systemd.put(WAGUARD, HANGING_WRAPPER if hangs else WRAPPER, 0o755)
    with hasty(systemd, "TimeoutStopSec=15" if hangs else ""):
        async with StandIn(policy=Policy(sync=0.1)) as standin:
            await _live(systemd, standin)
    assert ("1 processes ended" in systemd.journal(UNIT)) is hangs


async def _live(systemd: SystemdNamespace, standin: StandIn) -> None:
    import asyncio  # noqa: PLC0415 - the blocking parts run beside the stand-in's loop

    arguments = ", ".join(json.dumps(argument) for argument in standin.browser_args)
    configure(systemd, ("extra_args = []", f"extra_args = [{arguments}]"))

    def raw() -> str | None:
        client = api(systemd)
        return str(client.call("GET", client.session("s1", "/qr?wait=5"))["raw"])

    await asyncio.to_thread(systemd.systemctl, "start", UNIT)
    try:
        create = ("POST", "/api/sessions", {"session_id": "s1", "workspace_id": 1})
        await asyncio.to_thread(until, systemd, lambda: api(systemd).call(*create))
        code = await asyncio.to_thread(until, systemd, raw)
        standin.phone.scan(code, phone="6281180001")
        before = await asyncio.to_thread(until, systemd, status(systemd, "connected"))
        commands = processes(systemd)
        assert any("--user-data-dir=/var/lib/waguard/sessions/" in line for line in commands)
        assert not any("--no-sandbox" in line for line in commands)

        killed = time.monotonic()
        await asyncio.to_thread(systemd.systemctl, "kill", "-s", "KILL", "--kill-whom=main", UNIT)
        after = await asyncio.to_thread(until, systemd, status(systemd, "connected"))
        print(f"kill -9 of the daemon to connected: {time.monotonic() - killed:.2f} s")
        await asyncio.to_thread(systemd.wait, UNIT, ActiveState="active", NRestarts="[1-9]")
        assert after["browser_pid"] == before["browser_pid"], "adopted, not started anew"
    finally:
        await asyncio.to_thread(systemd.systemctl, "stop", UNIT)
    assert processes(systemd) == []
