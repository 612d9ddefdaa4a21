"""``waguard lab cluster``, as who wants to see several hosts runs it."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from waguard.cli.client import ApiCallError, ApiClient

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.long, pytest.mark.timeout(600)]
POLL: Final = 0.2  # s
OF_THE_MACHINE: Final = {
    *("configuration", "unit", "chromium", "sandbox", "wa-js", "versions", "disk", "memory"),
    *("pressure", "limits", "clock", "network", "health"),
}


async def test_a_host_is_killed_and_its_sessions_go_on() -> None:
    lab = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "waguard", "lab", "cluster", "--sessions", "1"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert lab.stdout
    said = ""
    while "Ctrl-C ends it" not in said:
        line = (await lab.stdout.readline()).decode()
        assert line, said
        said += line
    folder = re.findall(r"Ctrl-C ends it and removes (/\S+)\.\n", said)[0]
    try:
        hosts = dict(re.findall(r"host (\w): (\S+), pid", said))
        pids = dict(re.findall(r"host (\w): \S+, pid (\d+)", said))
        [key] = re.findall(r"API key: (\S+)", said)
        api = ApiClient(hosts["a"], key)
        assert {it["host"]: it["owned"] for it in await alive(api, 3)} == dict.fromkeys("abc", 1)
        os.kill(int(pids["c"]), signal.SIGKILL)
        assert sum(it["owned"] for it in await alive(api, 2)) == 3
        for number in range(3):
            await connected(api, f"s{number}")
        assert await doctor(f"{folder}/a/waguard.toml") == []
    finally:
        lab.send_signal(signal.SIGINT)
        assert await lab.wait() == 0, (await lab.stdout.read()).decode()
    while left(folder):  # what the killed host has left ends with its lease
        await asyncio.sleep(POLL)
    assert not Path(folder).exists()


async def alive(api: ApiClient, count: int) -> list[dict[str, Any]]:
    """Wait until so many hosts are, and have all sessions."""
    while True:
        answer = await asyncio.to_thread(api.call, "GET", "/api/hosts")
        living = [it for it in answer["hosts"] if it["alive"]]
        owned = sum(it["owned"] for it in living)
        if (len(living), owned, answer["without_owner"]) == (count, 3, 0):
            return living
        await asyncio.sleep(POLL)


async def connected(api: ApiClient, session: str) -> None:
    while True:
        try:
            found = await asyncio.to_thread(api.call, "GET", f"/api/sessions/{session}/status")
            if found["status"] == "connected":
                return
        except ApiCallError:  # nobody owns it at this moment
            pass
        await asyncio.sleep(POLL)


async def doctor(config: str) -> list[str]:
    """What it finds wrong that is no fault of this machine's, nor of the host that was killed."""
    asked = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "waguard", "doctor", "--config", config),
        stdout=asyncio.subprocess.PIPE,
    )
    said = (await asked.communicate())[0].decode()
    print(said)
    lines = [it.split(maxsplit=2) for it in said.splitlines() if it[:1].isalpha()]
    return [
        it[2]
        for it in lines
        if it[0] in {"failed", "warning"}
        and it[1] not in OF_THE_MACHINE
        and "writes to its disk" not in it[2]
    ]


def left(folder: str) -> list[dict[str, Any]]:
    return [it.info for it in psutil.process_iter(["cmdline"]) if folder in str(it.info)]
