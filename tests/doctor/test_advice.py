"""No command that is printed harms waguard, and each is one that can be run here."""

import asyncio
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from tests.doctor.faults import installation, machine, sessions
from tests.doctor.host import Host, foreign_process
from tests.waiting import wait_until
from waguard.core.host.strays import Seen
from waguard.doctor.advice import Here, advised, programs
from waguard.doctor.examination import NAMES
from waguard.doctor.probes.machine import Machine
from waguard.doctor.report import Check, Cli, Result, failed
from waguard.host.process import procfs

OURS: Final = 4_242
HERE = Here(spared=lambda pid: pid == OURS, has=lambda _: True, unit=True)


def only(command: str, here: Here) -> Check:
    [found] = advised([failed("port", "it is taken", "Stop it", command)], here, Cli())
    return found


def test_no_command_ends_a_process_of_waguards_own() -> None:
    own = only(f"kill {OURS}", HERE)
    assert (own.result, own.command, own.remedy) == (Result.SKIPPED, None, None)
    assert only("kill 1", HERE).command == "kill 1"


def test_a_program_that_is_not_there_is_no_command() -> None:
    bare = Here(spared=lambda _: False, has=lambda name: name != "ss", unit=True)
    found = only("ss -ltnp 'sport = :1'", bare)
    assert (found.result, found.command) == (Result.FAILED, None)
    assert "ss, not installed here: ss -ltnp" in str(found.remedy)


def test_without_a_unit_nobody_is_sent_to_systemctl() -> None:
    clone = Here(spared=lambda _: False, has=lambda _: True, unit=False)
    assert only("systemctl start waguard", clone).command == "waguard run"
    restart = only("systemctl restart waguard", clone)
    assert restart.command is None
    assert "`waguard run`" in str(restart.remedy)


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("ldd /x | grep 'not; found'; apt-get install y", ["ldd", "grep", "apt-get"]),
        ("sudo waguard doctor", ["sudo", "waguard"]),
        ("unset A; waguard config show", ["waguard"]),
    ],
)
def test_the_programs_of_a_command(command: str, named: list[str]) -> None:
    assert programs(command) == named


async def test_this_machine_spares_what_it_runs_and_what_is_gone() -> None:
    machine = Machine()
    assert machine.has("sh")
    assert not machine.has("no-such-program")
    sleep = str(shutil.which("sleep"))
    marked, other = [
        await asyncio.create_subprocess_exec(sleep, "60", env=env)
        for env in ({"WAGUARD_RECORD": "/x"}, {})
    ]
    try:
        # the kernel closes the line on which exec is noticed before it has the environment in place
        await wait_until(lambda: machine.spared(marked.pid), "its mark can be read")
        assert not machine.spared(other.pid)
    finally:
        for process in (marked, other):
            process.kill()
            await process.wait()
    assert machine.spared(other.pid), "it is gone"


@pytest.mark.parametrize("argv", [("-m", "waguard"), ("-m", "waguard.worker")])
def test_a_waguard_is_known_by_its_module(
    monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...]
) -> None:
    monkeypatch.setattr(procfs, "command_line", lambda _: [sys.executable, *argv, "run"])
    assert Machine().spared(os.getpid())


# ---- each check, against a daemon in each phase ----

Phase = Callable[[Host], Awaitable[None]]


async def starting(host: Host) -> None:
    """It has its lock and its port; its socket and its pid file come."""
    await host.stack.aclose()
    (host.runtime / "waguard.pid").unlink(missing_ok=True)
    (host.runtime / "waguard.sock").unlink(missing_ok=True)


async def stopping(host: Host) -> None:
    """Its socket is closed, its lock still held."""
    await host.stack.aclose()


async def adopting(host: Host) -> None:
    """It answers; its workers are not its own yet."""
    health = host.daemon.answers["/health/detailed"]
    condition = {"session_id": None, "message": "restoring", "remedy": "Nothing to do."}
    health.update(status="degraded", problems=["restoring"], conditions=[condition])


def workers(host: Host) -> list[Seen]:
    """A worker and its Chromium, without a record: they begin or end."""
    record = str(host.runtime.resolve() / "workers/s1.json")
    profile = str(host.at().profile.resolve())
    return [
        foreign_process(host, pid=OURS, record=record),
        foreign_process(host, pid=OURS + 1, profile=profile),
    ]


EVERY: Final = installation.FAULTS | machine.FAULTS | sessions.FAULTS
PHASES: Final[tuple[Phase, ...]] = (starting, stopping, adopting)
NEAR: Final = (None, "another_host_supervises", "a_worker_that_was_left")


async def require_harmless(
    host: Host, patch: pytest.MonkeyPatch, phase: Phase, fault: str | None
) -> None:
    host.machine.own = own = {os.getpid(), OURS, OURS + 1}
    planted = EVERY[fault].plant(host, patch) if fault else None
    if planted is not None:
        await planted
    host.machine.foreign += workers(host)
    await phase(host)
    checks = await host.examine()
    assert {check.name for check in checks} <= set(NAMES)
    commands = [check.command for check in checks if check.command]
    assert not [it for it in commands for pid in own if f"kill {pid}" in it]
    assert not [it for it in commands if f"{host.state}/api-key" in it and ">" in it]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("fault", NEAR)
async def test_no_phase_of_a_daemon_brings_out_advice_against_it(
    host: Host, monkeypatch: pytest.MonkeyPatch, phase: Phase, fault: str | None
) -> None:
    await require_harmless(host, monkeypatch, phase, fault)


@pytest.mark.long
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("fault", sorted(EVERY))
async def test_no_fault_in_any_phase_does(
    host: Host, monkeypatch: pytest.MonkeyPatch, phase: Phase, fault: str
) -> None:
    await require_harmless(host, monkeypatch, phase, fault)
