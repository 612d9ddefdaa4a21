"""How the demo ends; ``tests/e2e/test_demo.py`` has the real one."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any, Self

import pytest

from waguard.lab import demo


class Part:
    """Stand-in, receiver, daemon and tour, as far as the demo's end needs them."""

    phone_url = url = base = key = ""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.rows: list[tuple[str, str, float]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def start(self) -> None:
        """At once."""

    async def ready(self) -> "Part":
        return self

    async def run(self) -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("once", [False, True])
def test_ctrl_c_waits_for_the_daemon_before_its_folder_is_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, once: bool
) -> None:
    folder, seen = tmp_path / "demo", list[bool]()
    folder.mkdir()

    class Daemon(Part):
        async def stop(self) -> None:
            for _ in range(10):  # turns of the loop
                await asyncio.sleep(0)
            seen.append(folder.is_dir())

    for name, part in {
        "StandIn": Part,
        "Receiver": Part,
        "Tour": Part,
        "DaemonProcess": Daemon,
    }.items():
        monkeypatch.setattr(demo, name, part)
    monkeypatch.setattr(demo, "settings", lambda *_, **__: {})
    monkeypatch.setattr("waguard.lab.demo.tempfile.mkdtemp", lambda **_: str(folder))
    assert demo.run(once=once, port=0) == 0
    assert seen == [True]
    assert not folder.exists()
