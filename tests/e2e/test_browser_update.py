"""The package manager replaces Chromium while sessions run: by one that works, and by one that does not."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.conftest import World
from waguard.host.process.executable import find_executable

pytestmark = [
    *(pytest.mark.e2e, pytest.mark.chromium, pytest.mark.long),
    # a canary is on trial for 5 minutes, and an update is awaited for one
    pytest.mark.timeout(1_800),
]

PHONES: Final = {f"s{n}": f"628118000{n}" for n in range(1, 5)}
FRIEND: Final = "6281190001"
UPDATED: Final = 900.0  # s


class Package:
    """Debian's headless-shell, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        origin = find_executable(None, "headless-shell")
        self.folder = folder / "lib"
        shutil.copytree(origin.parent, self.folder, ignore=shutil.ignore_patterns("chromium"))
        self.path = self.folder / origin.name

    def update(self, old: bytes, new: bytes) -> None:
        """Unpack another version: its file takes the name of the old one."""
        draft = self.path.with_suffix(".dpkg-new")
        content = self.path.read_bytes()
        assert old in content
        draft.write_bytes(content.replace(old, new))
        draft.chmod(0o755)
        draft.replace(self.path)

    def runs(self, browser: int | None) -> bool:
        """Whether a process runs what is installed."""
        try:
            return browser is not None and self.path.samefile(f"/proc/{browser}/exe")
        except OSError:
            return False


async def browsers(world: World) -> dict[str, int | None]:
    """Of those that are connected, their Chromiums."""
    found = {name: await world.daemon.status(name) for name in PHONES}
    return {n: it["browser_pid"] for n, it in found.items() if it["status"] == "connected"}


async def conditions(world: World) -> dict[str, str]:
    _, health = await world.daemon.call("GET", "/health/detailed")
    return {it["type"]: it["message"] for it in health["conditions"]}


async def test_sessions_follow_one_that_works_and_none_follows_one_that_does_not(
    world: World,
) -> None:
    daemon, phone = world.daemon, world.standin.phone
    package = Package(daemon.folder)
    daemon.settings = {
        **daemon.settings,
        "WAGUARD_BROWSER__EXECUTABLE": str(package.path),
        "WAGUARD_BROWSER__FLAVOUR": "headless-shell",
        "WAGUARD_BROWSER__KEEP_PREVIOUS": "true",
        "WAGUARD_WORKER__MEASURE_INTERVAL": "1",
        "WAGUARD_LOG__LEVEL": "INFO",
    }
    await daemon.start()
    for session, number in PHONES.items():
        await daemon.pair(world.standin, session, number)
    codes = world.receiver.count("qr_code_generated")
    before = await browsers(world)

    # one that works
    numbers = _version(package.path)
    newer = numbers[:-1] + (b"5" if numbers[-1:] != b"5" else b"6")
    package.update(numbers, newer)
    await daemon.until(lambda: _has(world, "browser_outdated"), deadline=UPDATED)
    said = f"4 of 4 sessions run Chromium {numbers.decode()}"
    assert said in (await conditions(world))["browser_outdated"]
    assert await daemon.metric("waguard_browsers_outdated") == 4
    await daemon.until(lambda: _logged(world, "a session gets another Chromium"), deadline=UPDATED)
    for number in PHONES.values():  # also to the one that is away now
        phone.incoming(phone=number, from_=FRIEND, body=f"to {number}")

    async def all_follow() -> bool:
        found = await browsers(world)
        return len(found) == len(PHONES) and all(map(package.runs, found.values()))

    await daemon.until(all_follow, deadline=UPDATED)
    await daemon.until(lambda: _is_well(world))

    async def each_has_its_message() -> bool:
        received = (it for it in world.receiver.received if it["event"] == "message_received")
        bodies = sorted(it["data"]["message"]["body"] for it in received)
        return bodies == sorted(f"to {number}" for number in PHONES.values())

    await daemon.until(each_has_its_message)
    await daemon.until(lambda: _logged(world, "Chromium is kept"), deadline=UPDATED)
    after = await browsers(world)
    assert all(after[name] != before[name] for name in PHONES)

    # one that starts on no profile, although it says its version
    (package.folder / "icudtl.dat").unlink()
    package.update(newer, numbers)
    await daemon.until(lambda: _has(world, "browser_update_failed"), deadline=UPDATED)
    why = (await conditions(world))["browser_update_failed"]
    assert "3 of 3 sessions" in why or "4 of 4 sessions" in why
    await daemon.until(lambda: _all_connected(world), deadline=UPDATED)
    now = await browsers(world)
    [canary] = [name for name in PHONES if now[name] != after[name]]
    kept = daemon.folder / "state/chromium/headless-shell"
    assert Path(f"/proc/{now[canary]}/exe").readlink().is_relative_to(kept)
    assert (await conditions(world)).keys() == {"browser_update_failed"}
    code, reported = await daemon.send(canary, FRIEND, "it is back")
    assert code == 200, reported

    assert world.receiver.count("qr_code_generated") == codes, "nobody scanned again"
    assert world.receiver.count("message_received") == len(PHONES), "none is lost or doubled"


def _version(path: Path) -> bytes:
    said = subprocess.run([path, "--version"], check=True, capture_output=True).stdout
    found = re.search(rb"\d+(\.\d+){3}", said)
    assert found
    return found[0]


async def _has(world: World, kind: str) -> bool:
    return kind in await conditions(world)


async def _is_well(world: World) -> bool:
    return not await conditions(world)


async def _logged(world: World, words: str) -> bool:
    return words in world.daemon.log()


async def _all_connected(world: World) -> bool:
    return len(await browsers(world)) == len(PHONES)
