"""The doctor beside a real daemon: up, standing still, killed."""

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.doctor.host import TRIED
from tests.e2e.harness import Daemon, short_folder, suspended
from tests.ports import reserved_port
from waguard.doctor.examination import examine
from waguard.doctor.probes.machine import Machine, Ran
from waguard.doctor.repair import repair
from waguard.doctor.report import Check
from waguard.doctor.timings import TIMINGS, Timings

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
# what depends on this machine
NOT_OURS = {"clock", "disk", "limits", "memory", "network", "pressure", "unit"}


SETTINGS: Final = {
    "WAGUARD_API__PORT": "0",
    "WAGUARD_FLEET__NETWORK": "off",
    "WAGUARD_BROWSER__SANDBOX": "false",
    "WAGUARD_WHATSAPP__URL": "http://127.0.0.1:1/",
}


class WithoutChromium(Machine):
    """This machine, but for the programs that it runs."""

    async def run(
        self, argv: Sequence[str], *, within: float, user: tuple[int, int] | None = None
    ) -> Ran:
        return Ran(code=0, out=json.dumps(TRIED))


async def test_up_stopped_and_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SETTINGS
    with short_folder() as folder:
        monkeypatch.chdir(folder)
        nowhere = Path("/nowhere")
        machine = WithoutChromium(nowhere, system_file=nowhere / "waguard.toml")

        async def wrong(timings: Timings = TIMINGS) -> dict[str, Check]:
            checks = await examine(None, settings, machine, timings)
            return {
                c.name: c
                for c in checks
                if c.result not in {"ok", "skipped"} and c.name not in NOT_OURS
            }

        async with Daemon(folder, settings) as daemon:
            await daemon.start()
            assert daemon.process
            assert await wrong() == {}
            with suspended(daemon.process.pid):
                found = await wrong(Timings(daemon=0.1))
                assert {name: c.command for name, c in found.items()} == {"socket": None}
                assert "no unit is installed" in str(found["socket"].remedy)
            os.kill(daemon.process.pid, 9)
            await daemon.process.wait()
            found = await wrong()
            assert {name: c.result for name, c in found.items()} == {
                "instance": "failed",
                "socket": "failed",
            }
            assert sorted(repair(found.values())) == [
                f"{folder}/run/waguard.pid was removed",
                f"{folder}/run/waguard.sock was removed",
            ]
            assert {name: c.result for name, c in (await wrong()).items()} == {
                "instance": "warning"
            }


async def test_while_it_starts_and_stops_no_advice_is_against_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Asked again and again, from before its lock until after it."""
    with short_folder() as folder, reserved_port() as port:
        monkeypatch.chdir(folder)
        settings = {**SETTINGS, "WAGUARD_API__PORT": str(port)}
        nowhere = Path("/nowhere")
        machine = WithoutChromium(nowhere, system_file=nowhere / "waguard.toml")

        async def ask_until(done: asyncio.Task[Any]) -> list[Check]:
            checks: list[Check] = []
            while not done.done():
                checks += await examine(None, settings, machine, Timings(again=0.05))
            await done
            return checks

        async with Daemon(folder, settings) as daemon:
            checks = await ask_until(asyncio.create_task(daemon.start()))
            checks += await ask_until(asyncio.create_task(daemon.stop()))
        assert checks
        assert not [c for c in checks if "kill" in (c.command or "")]
        failed = [c for c in checks if c.result == "failed" and c.name not in NOT_OURS]
        assert [(c.name, c.seen, c.command) for c in failed] == []
