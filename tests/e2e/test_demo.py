"""``waguard demo``, as a newcomer runs it."""

import asyncio
import re
import signal
import sys
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.long, pytest.mark.timeout(240)]


async def test_ctrl_c_ends_the_demo_and_leaves_nothing() -> None:
    demo = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "waguard", "demo"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert demo.stdout
    said = (await demo.stdout.readuntil(b"Ctrl-C ends it")).decode()
    said += (await demo.stdout.readline()).decode()
    found = re.search(r"removes (/\S+)\.\n", said)
    assert found, said
    demo.send_signal(signal.SIGINT)
    assert await demo.wait() == 0
    folder = found[1]
    left = [it.info for it in psutil.process_iter(["cmdline"]) if folder in str(it.info)]
    assert left == []
    assert not Path(folder).exists()
