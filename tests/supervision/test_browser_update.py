"""Another Chromium is installed while sessions run: they are replaced one by one, or keep what they run."""

import errno
import shutil
from pathlib import Path
from typing import Any, Final

import pytest

from tests.host.odd_files import all_spoilt, refuse
from tests.supervision.bench import CONNECTED, QR_SHOWN, Bench
from tests.supervision.fake_workers import FakeProcess, Script
from tests.supervision.sessions import until
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core.exits import EXIT_BROWSER_UNUSABLE
from waguard.core.host.browser_update import PROVEN, SCRIPT, TRIED_FOR, UNPACKED
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.proxy import FAILS
from waguard.core.row_status import ParkCause
from waguard.core.session.facts import ParkRequested, ProxyChanged
from waguard.ports.process import BrowserFile
from waguard.supervision.fleet.browser_update import COPIED_AGAIN, FILE
from waguard.supervision.session.actor import SessionActor
from waguard.wire.worker import WorkerSpec

NAMES: Final = ("a", "b", "c", "d")
OLD: Final = BrowserFile(path=Path("/x/chromium"), build="old", version="1.0.0.0")
NEW: Final = BrowserFile(path=Path("/x/chromium"), build="new", version="2.0.0.0")
KEPT: Final = BrowserFile(path=Path("/kept/old/chromium"), build="old")


class Drill:
    """Four sessions that run the old one."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.world, self.browsers = bench, bench.world, bench.world.browsers
        self._begun = dict[int, BrowserFile]()
        """What each worker was started with, as the first tick after that saw it."""

    async def tick(self, seconds: float = 0.0) -> None:
        self.world.clock.advance(seconds)
        for process in self.world.spawn.alive:
            spec = process.spec
            own = KEPT if isinstance(spec, WorkerSpec) and spec.executable else self.browsers.there
            assert own
            self.browsers.run[process.pid + 1] = self._begun.setdefault(process.pid, own)
        await self.bench.it.watchdog.measure()

    async def update(self) -> None:
        """The package manager was here a while ago, and all are idle."""
        await self.tick(PROVEN + 1)
        self.browsers.there = NEW
        await self.tick()
        await self.tick(UNPACKED)

    @property
    def started(self) -> list[str]:
        """Sessions whose workers were started, in order."""
        return [it.spec.session for it in self.world.spawn.started]

    async def replaced(self, count: int) -> SessionActor:
        """So many workers were started: the session of the last one."""
        await wait_until(lambda: len(self.started) == count, "a worker is replaced")
        return self.bench.session(self.started[-1])

    async def connected(self, count: int) -> str:
        """So many workers were started: the session of the last one is connected again."""
        session = await self.replaced(count)
        await until(session, lambda s: s.link is Link.CONNECTED and s.runner.process is not None)
        return session.name

    async def canary_failed(self) -> FakeProcess:
        """No Chromium starts from the new one."""
        self.world.spawn.script = Script(exits=EXIT_BROWSER_UNUSABLE)
        await self.update()
        await wait_until(lambda: len(self.started) == 5, "the canary is replaced")
        await wait_until(lambda: self.bench.it.mailbox.fleet.broken, "it has ended")
        await self.tick()
        return self.world.spawn.started[-1]

    def conditions(self) -> dict[str, str]:
        found = self.bench.it.health.read().conditions
        return {it.type: it.message for it in found if it.session is None}


@pytest.fixture
async def drill(bench: Bench, world: World) -> Drill:
    world.browsers.there = OLD
    world.spawn.script = Script(reports=(CONNECTED,))
    for name in NAMES:
        await bench.row(name)
    assert await bench.restore() == "restored 4"
    made = Drill(bench)
    await made.tick()
    assert made.conditions() == {}
    return made


async def test_sessions_are_replaced_one_by_one(drill: Drill) -> None:
    await drill.update()
    said = "4 of 4 sessions run Chromium 1.0.0.0; Chromium 2.0.0.0 is installed"
    assert drill.conditions() == {"browser_outdated": said}
    assert drill.bench.it.health.read().browsers_outdated == 4
    assert set(drill.browsers.asked) == {NEW.path}, "before a session depends on it"
    order = [await drill.connected(5)]
    await drill.tick()
    await drill.tick(PROVEN - 1)
    assert len(drill.started) == 5, "the canary is on trial"
    await drill.tick(1)
    order += [await drill.connected(6)]
    for count in (7, 8):
        await drill.tick(1)
        order += [await drill.connected(count)]
    await drill.tick(1)
    assert sorted(order) == list(NAMES)
    assert drill.conditions() == {}
    assert drill.bench.it.health.read().browsers_outdated == 0
    assert [it.state.restarts for it in drill.bench.it.registry.sessions] == [0] * 4
    await drill.bench.until_written("a")
    assert ("another Chromium is installed") in str(drill.world.audited("recycled"))


async def test_one_that_does_not_run_costs_nobody(drill: Drill) -> None:
    drill.browsers.refused = "/x/chromium --version failed: exit code 127"
    await drill.update()
    await drill.tick(3_600)
    why = f"{drill.browsers.refused}; 4 of 4 sessions run Chromium 1.0.0.0, and keep it"
    assert drill.conditions() == {"browser_update_failed": f"Chromium /x/chromium fails: {why}"}
    assert len(drill.started) == 4
    drill.browsers.refused = None
    await drill.tick(1)
    await drill.connected(5)
    assert list(drill.conditions()) == ["browser_outdated"]


async def test_a_canary_that_cannot_start_is_the_hosts(drill: Drill) -> None:
    canary = await drill.canary_failed()
    assert "3 of 3 sessions run Chromium 1.0.0.0, and keep it" in str(drill.conditions())
    state = drill.bench.session(canary.spec.session).state
    assert state.counted == (), "no budget is spent"
    running = {it.spec.session for it in drill.world.spawn.alive}
    assert running == {*NAMES} - {canary.spec.session}
    await drill.bench.restart()
    drill.world.spawn.script = Script(reports=(CONNECTED,))
    assert drill.bench.it.watchdog.browsers.state.bad, "the next daemon knows it"
    drill.browsers.there = OLD
    await drill.tick()
    assert drill.conditions().keys() <= {"restoring"}
    assert not (drill.world.config.paths.state / FILE).exists()


async def test_the_canary_comes_back_with_the_kept_one(drill: Drill) -> None:
    drill.browsers.copy = KEPT
    await drill.canary_failed()
    assert drill.browsers.used == KEPT
    assert "the next start uses the kept copy" in drill.conditions()["browser_update_failed"]
    drill.world.spawn.script = Script(reports=(CONNECTED,))
    canary = drill.started[4]
    drill.world.clock.advance(11.0)
    drill.bench.it.mailbox.tick()
    await until(drill.bench.session(canary), lambda s: s.link is Link.CONNECTED)
    spec = drill.bench.process(canary).spec
    assert isinstance(spec, WorkerSpec)
    assert spec.executable == str(KEPT.path)
    await drill.tick()
    assert drill.conditions().keys() == {"browser_update_failed"}
    await drill.bench.restart()
    assert drill.browsers.used == KEPT


REFUSED: Final = {
    "phase": "ready",
    "link": "offline",
    "refused": True,
    "details": "WhatsApp answers with HTTP status 403",
}
_SHOWN: Final = {Link.QR_PENDING, Link.OFFLINE}
OTHER_CAUSES: Final[dict[str, dict[str, Any]]] = {
    "it is unlinked": QR_SHOWN,
    "WhatsApp blocks it": {"phase": "ready", "link": "blocked"},
    "WhatsApp refuses it alone": REFUSED,
}


@pytest.mark.parametrize("how", OTHER_CAUSES)
async def test_a_canary_that_another_cause_keeps_off_condemns_no_chromium(
    drill: Drill, how: str
) -> None:
    drill.browsers.copy = KEPT
    drill.world.spawn.script = Script(reports=(OTHER_CAUSES[how],))
    for name in NAMES if OTHER_CAUSES[how] is REFUSED else ():
        drill.bench.session(name).post(ProxyChanged(proxied=True))  # a refusal is the proxy's own
    await drill.update()
    canary = await drill.replaced(5)
    parked = how == "WhatsApp blocks it"
    ends_as = State.PARKED if parked else State.RUNNING
    await until(canary, lambda s: s.lifecycle is ends_as and (parked or s.link in _SHOWN))
    drill.world.spawn.script = Script(reports=(CONNECTED,))
    await drill.tick(TRIED_FOR + 1)
    other = await drill.connected(6)
    assert other != canary.name
    await drill.tick()
    await drill.tick(PROVEN)
    assert "browser_update_failed" not in drill.conditions()
    assert drill.browsers.used is None
    assert drill.bench.it.watchdog.browsers.state.good == "new"


async def test_all_canaries_whose_proxies_fail_condemn_no_chromium(drill: Drill) -> None:
    dead = f"{FAILS}socks5://10.0.0.1:1080 accepts no connection: Connection refused"
    drill.world.spawn.script = Script(
        reports=({"phase": "ready", "link": "offline", "details": dead},)
    )
    for name in NAMES:
        drill.bench.session(name).post(ProxyChanged(proxied=True))
    await drill.update()
    for count in range(5, 9):
        await until(await drill.replaced(count), lambda s: s.link is Link.OFFLINE)
        await drill.tick(TRIED_FOR + 1)
    assert sorted(drill.started[4:]) == list(NAMES), "each is tried once"
    assert drill.bench.it.watchdog.browsers.state.bad is None


async def test_a_canary_that_is_parked_for_a_person_is_not_started_again(drill: Drill) -> None:
    drill.browsers.copy = KEPT
    await drill.update()
    for count in (5, 6):
        session = drill.bench.session(await drill.connected(count))
        session.post(ParkRequested(cause=ParkCause.CONFLICT, details="elsewhere"))
        await until(session, lambda s: s.lifecycle is State.PARKED)
        await drill.tick(TRIED_FOR + 1)
    names = " and ".join(drill.started[4:])
    why = f"sessions {names} were not connected with it"
    assert why in drill.conditions()["browser_update_failed"]
    assert len(drill.started) == 6


async def test_a_script_that_is_set_instead_ends_it(drill: Drill) -> None:
    drill.browsers.copy = KEPT
    await drill.canary_failed()
    drill.browsers.there = BrowserFile(path=Path("/x/script"), build=SCRIPT)
    await drill.tick()
    assert "browser_update_failed" not in drill.conditions()
    assert drill.browsers.used is None


async def test_one_that_works_is_kept(drill: Drill, world: World) -> None:
    world.change("browser", keep_previous=True)
    drill.browsers.full = "/usr/lib/chromium has 606 MB: too much for /state/chromium"
    for _ in range(3):
        await drill.tick(PROVEN)
    await drill.bench.it.watchdog.browsers.close()
    assert drill.browsers.copy is None
    drill.browsers.full, drill.browsers.there = None, NEW
    await drill.tick()
    assert drill.browsers.copy is None, "it is not proven yet"
    drill.browsers.there = OLD
    await drill.tick()
    drill.browsers.there = NEW
    await drill.update()
    await drill.connected(5)
    await drill.tick()
    await drill.tick(PROVEN)
    await drill.bench.it.watchdog.browsers.close()
    assert drill.browsers.copy
    assert drill.browsers.copy.build == "new"


async def test_one_that_could_not_be_kept_is_tried_again_later(drill: Drill, world: World) -> None:
    world.change("browser", keep_previous=True)
    browsers = drill.bench.it.watchdog.browsers
    drill.browsers.full = "/state/chromium: no space left"
    for _ in range(3):
        await drill.tick(PROVEN)
    await browsers.close()
    drill.browsers.full = None
    await drill.tick(PROVEN)
    await browsers.close()
    assert drill.browsers.copy is None, "a copy costs the disk much"
    await drill.tick(COPIED_AGAIN)
    await browsers.close()
    assert drill.browsers.copy
    assert drill.browsers.copy.build == "old"


async def test_an_odd_file_of_what_failed_is_quarantined(
    bench: Bench, world: World, subtests: pytest.Subtests
) -> None:
    file = world.config.paths.state / FILE
    for name, spoil in all_spoilt().items():
        with subtests.test(name):
            shutil.rmtree(file.parent, ignore_errors=True)
            file.parent.mkdir()
            spoil(file, b'{"build": "boot", "why": "y"}')
            await bench.restart()
            assert bench.it.watchdog.browsers.state.bad is None


async def test_what_failed_is_not_forgotten_where_its_file_cannot_be_read(
    bench: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = world.config.paths.state / FILE
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b'{"build": "bad", "why": "y"}')
    with monkeypatch.context() as patch:
        refuse(patch, file, errno.EMFILE)
        await bench.restart()
    world.browsers.there = NEW
    await bench.it.watchdog.measure()
    assert list(file.parent.glob(f"{FILE}*")) == [file]
    await bench.restart()
    bad = bench.it.watchdog.browsers.state.bad
    assert bad
    assert bad.build == "bad"
