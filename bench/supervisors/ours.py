"""waguard of any checkout, with workers that have no browser."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp

from bench.heal import UNLIMITED
from bench.rig import Daemon
from bench.supervisors.fleet import Fleet
from waguard.profile.lock import ProfileLock
from waguard.profile.owner_mark import claim

# the host's memory and a failing fleet hold nothing up here, as with the peers
SETTINGS = UNLIMITED | {
    "WAGUARD_ADMISSION__MEMORY_PRESSURE": "100",
    "WAGUARD_ADMISSION__MEMORY_RESERVE": "0",
    "WAGUARD_ADMISSION__SESSION_MEMORY": "0",
    "WAGUARD_FLEET__MINIMUM": "1000",
    "WAGUARD_LIMITS__DISK_RESERVE": "0",
}
NO_PAGE: Any = SimpleNamespace(url="http://127.0.0.1:9/", browser_args=[])


class Waguard(Fleet):
    """The daemon of a checkout that has its own ``.venv``."""

    deaf = ""

    def __init__(
        self, folder: Path, count: int, checkout: Path, http: aiohttp.ClientSession
    ) -> None:
        super().__init__(folder, count)
        program = Path(__file__).with_name("simulated.py")
        python = str(checkout / ".venv/bin/python")
        self._daemon = Daemon(folder, NO_PAGE, http, (python, "-P", str(program), "daemon"))
        self._daemon.settings |= SETTINGS | {"BENCH_LINES": str(self.lines)}

    async def prepare(self) -> None:
        await self.begin()
        await self._daemon.ready()
        for name in self.names:
            profile = self._daemon.profile(name)
            # what a browser leaves there, and a worker that was connected: else each start looks elsewhere for it
            (profile / "Default/IndexedDB").mkdir(0o700, parents=True)
            with ProfileLock(profile) as lock:
                claim(profile, lock.descriptor, after_pairing=True)
            body = {"session_id": name, "workspace_id": 1}
            await self._daemon.call("POST", "/api/sessions", body)
        await self._daemon.connected(dict.fromkeys(self.names, ""))
        await self.down()

    @property
    def root(self) -> int:
        return self._daemon.pid

    async def begin(self) -> None:
        await self._daemon.start()

    async def end(self) -> None:
        await self._daemon.stop()
