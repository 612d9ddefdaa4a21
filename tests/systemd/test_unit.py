"""The shipped unit under a real systemd, with a real Chromium and its own sandbox on."""

import asyncio
import contextlib
import json
import re
import socket
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest

from tests.ports import reserved_port
from tests.systemd.namespace import SystemdNamespace
from tests.systemd.unit import (
    AS_NOBODY,
    AS_WAGUARD,
    CHECKOUT,
    CONFIG,
    HANGING_WRAPPER,
    UNIT,
    WAGUARD,
    WRAPPER,
    api,
    command,
    configure,
    drop_in,
    processes,
    shipped,
    status,
    until,
    why_not,
)
from waguard.lab.standin import Policy, StandIn

pytestmark = [
    pytest.mark.chromium,
    pytest.mark.timeout(300),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


@pytest.fixture(scope="module")
def systemd() -> Iterator[SystemdNamespace]:
    with shipped() as namespace:
        unit = (CHECKOUT / "systemd/waguard.service").read_text()
        namespace.put("/etc/systemd/system/waguard-second.service", unit)
        namespace.systemctl("daemon-reload")
        yield namespace


@pytest.fixture
def running(systemd: SystemdNamespace) -> Iterator[SystemdNamespace]:
    systemd.systemctl("reset-failed")
    systemd.systemctl("start", UNIT)
    yield systemd
    systemd.systemctl("stop", UNIT)


def test_systemd_finds_no_fault_in_the_unit(systemd: SystemdNamespace) -> None:
    verified = systemd.run("systemd-analyze", "verify", "--man=no", f"/etc/systemd/system/{UNIT}")
    assert (verified.returncode, verified.stderr) == (0, "")


def test_the_unit_says_when_it_is_ready_and_what_it_does(running: SystemdNamespace) -> None:
    shown = running.wait(UNIT, ActiveState="active", StatusText="no session")
    assert shown["Type"] == "notify-reload"
    assert "waguard is up" in running.journal(UNIT)


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


def test_the_command_line_reads_entries_of_the_journal_whatever_their_length(
    systemd: SystemdNamespace,
) -> None:
    """A traceback alone is longer than what journalctl shows of a field by itself."""
    fields = json.dumps({"message": "oops", "event": "bug", "traceback": "x" * 9_000})
    said = f"MESSAGE=oops\nOBJECT_SYSTEMD_UNIT={UNIT}\nWAGUARD_FIELDS={fields}\n"
    systemd.put("/tmp/said", said)
    assert systemd.run("sh", "-c", "logger --journald < /tmp/said").returncode == 0
    until(systemd, lambda: "oops" in systemd.journal(UNIT))
    shown = command(systemd, "logs", "--json")
    assert json.loads(fields) in [json.loads(line) for line in shown.stdout.splitlines()]


def test_another_user_is_refused_and_hears_who_to_be(running: SystemdNamespace) -> None:
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


@pytest.mark.long
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


def test_a_wrong_configuration_is_one_line_and_no_loop(systemd: SystemdNamespace) -> None:
    configure(systemd, ("rate = 0.0", 'rate = "fast"'))
    systemd.systemctl("reset-failed")
    try:
        assert systemd.run("systemctl", "start", UNIT).returncode != 0
        shown = systemd.wait(UNIT, ActiveState="failed")
        assert (shown["ExecMainStatus"], shown["NRestarts"]) == ("2", "0")
        invocation = f"_SYSTEMD_INVOCATION_ID={shown['InvocationID']}"
        said = systemd.run("journalctl", "-o", "cat", "-p", "err", invocation).stdout
        (line,) = said.splitlines()
        assert line.startswith("waguard: send.rate: 'fast' is not allowed")
    finally:
        configure(systemd)


def test_a_variable_that_hides_a_key_is_logged(systemd: SystemdNamespace) -> None:
    systemd.systemctl("reset-failed")
    with drop_in(systemd, "hides.conf", "[Service]\nEnvironment=WAGUARD_LOG__LEVEL=WARNING\n"):
        systemd.systemctl("start", UNIT)
        systemd.systemctl("stop", UNIT)
    assert f"WAGUARD_LOG__LEVEL=WARNING of the environment hides log.level = INFO of {CONFIG}" in (
        systemd.run("journalctl", "-o", "cat", "-p", "warning", "-u", UNIT).stdout
    )


def test_the_unit_is_active_while_the_database_is_away(systemd: SystemdNamespace) -> None:
    with reserved_port() as port:
        url = f"postgresql+asyncpg://localhost:{port}/nothing"
        configure(systemd, ('# url = "mysql+asyncmy://localhost/waguard"', f'url = "{url}"'))
        systemd.systemctl("reset-failed")
        try:
            systemd.systemctl("start", UNIT)
            systemd.wait(UNIT, ActiveState="active", StatusText="cannot begin yet: .*")
        finally:
            systemd.systemctl("stop", UNIT)
            configure(systemd)


def test_a_reload_fails_where_the_file_is_wrong(running: SystemdNamespace) -> None:
    before = running.wait(UNIT, StatusText="no session")
    running.systemctl("reload", UNIT)
    assert "configuration read again" in running.journal(UNIT)
    configure(running, ("rate = 0.0", 'rate = "fast"'))
    try:
        refused = running.run("systemctl", "reload", UNIT)
        assert refused.returncode != 0
        kept = running.wait(UNIT, ActiveState="active", StatusText="no session")
        assert kept["MainPID"] == before["MainPID"]
        assert running.journal(UNIT).count("the configuration is unchanged: send.rate") == 1
    finally:
        configure(running)
    running.systemctl("reload", UNIT)
    assert running.show(UNIT)["MainPID"] == before["MainPID"]


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


@pytest.mark.long
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


async def test_a_session_outlives_its_daemon_and_a_stop_ends_all(
    systemd: SystemdNamespace,
) -> None:
    async with connected(systemd) as paired:
        kill = ("kill", "-s", "KILL", "--kill-whom=main", UNIT)
        await is_adopted(systemd, paired, "kill -9", *kill, restarts="[1-9]")
        await is_adopted(systemd, paired, "restart", "restart", UNIT, restarts="0")
        said = await asyncio.to_thread(until, systemd, partial(incidents, systemd))
        assert said.count("was killed or crashed") == 1, said  # a restart is no death
    assert "1 processes ended" not in systemd.journal(UNIT)
    of_it = ("journalctl", "-o", "cat", "-u", UNIT, "SESSION=s1")
    assert systemd.run(*of_it, "EVENT=worker_adopted").stdout.count("\n") == 2
    assert systemd.run(*of_it, "EVENT=daemon_up").stdout == ""


def incidents(systemd: SystemdNamespace) -> str | None:
    """The whole fleet's, as soon as the kill is among them."""
    said = command(systemd, "why").stdout
    return said if "was killed or crashed" in said else None


@pytest.mark.long
async def test_a_daemon_that_hangs_is_replaced_and_its_session_goes_on(
    systemd: SystemdNamespace,
) -> None:
    with hasty(systemd, "WatchdogSec=5\nTimeoutAbortSec=3"):
        async with connected(systemd) as paired:
            stop = ("kill", "-s", "STOP", "--kill-whom=main", UNIT)
            await is_adopted(systemd, paired, "SIGSTOP", *stop, restarts="[1-9]")
    assert "Watchdog timeout" in systemd.run("journalctl", "-o", "cat").stdout


@pytest.mark.long
async def test_a_stop_that_hangs_ends_all_the_same(systemd: SystemdNamespace) -> None:
    systemd.put(WAGUARD, HANGING_WRAPPER, 0o755)
    try:
        with hasty(systemd, "TimeoutStopSec=15"):
            async with connected(systemd):
                pass
    finally:
        systemd.put(WAGUARD, WRAPPER, 0o755)
    assert "1 processes ended" in systemd.journal(UNIT)


@contextlib.asynccontextmanager
async def stopped(systemd: SystemdNamespace) -> AsyncIterator[None]:
    """In the end, with nothing left."""
    try:
        yield
    finally:
        await asyncio.to_thread(systemd.run, "systemctl", "stop", UNIT)
    assert processes(systemd) == []


@contextlib.asynccontextmanager
async def connected(systemd: SystemdNamespace) -> AsyncIterator[dict[str, Any]]:
    """The unit runs, on the stand-in, and has one session: its status. Then it is stopped."""
    systemd.run("sh", "-c", "rm -rf /var/lib/waguard/*")
    async with StandIn(policy=Policy(sync=0.1)) as standin, stopped(systemd):
        arguments = ", ".join(json.dumps(argument) for argument in standin.browser_args)
        configure(systemd, ("extra_args = []", f"extra_args = [{arguments}]"))
        systemd.systemctl("reset-failed")
        await asyncio.to_thread(systemd.systemctl, "start", UNIT)
        create = ("POST", "/api/sessions", {"session_id": "s1", "workspace_id": 1})
        await asyncio.to_thread(until, systemd, lambda: api(systemd).call(*create))

        def raw() -> str | None:
            client = api(systemd)
            return str(client.call("GET", client.session("s1", "/qr?wait=5"))["raw"])

        code = await asyncio.to_thread(until, systemd, raw)
        standin.phone.scan(code, phone="6281180001")
        reported = await asyncio.to_thread(until, systemd, status(systemd, "connected"))
        commands = processes(systemd)
        assert any("--user-data-dir=/var/lib/waguard/sessions/" in line for line in commands)
        assert not any("--no-sandbox" in line for line in commands)
        yield reported


async def is_adopted(
    systemd: SystemdNamespace, before: dict[str, Any], what: str, *verb: str, restarts: str
) -> None:
    """After systemctl ``verb`` another daemon has the session, as it was."""
    old = systemd.show(UNIT)["MainPID"]
    began = time.monotonic()
    await asyncio.to_thread(systemd.systemctl, *verb)
    other = rf"(?!{old}$)[1-9]\d*"
    await asyncio.to_thread(
        systemd.wait, UNIT, ActiveState="active", MainPID=other, NRestarts=restarts
    )
    after = await asyncio.to_thread(until, systemd, status(systemd, "connected"))
    print(f"{what} of the daemon to connected: {time.monotonic() - began:.2f} s")
    for pid in ("worker_pid", "browser_pid"):
        assert after[pid] == before[pid], "adopted, not started anew"
