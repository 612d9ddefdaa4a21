"""Sessions whose pages are of one version or another, for tests."""

import asyncio
from collections.abc import Callable
from typing import Final

from tests.supervision.bench import CONNECTED, TEXT, Bench
from tests.supervision.fake_workers import Script
from tests.supervision.sessions import heard
from waguard.core.link import Link
from waguard.supervision.session.actor import SessionActor
from waguard.wire.reports import PageVersion
from waguard.wire.worker import WorkerRecord, WorkerSpec

NAMES: Final = ("a", "b", "c", "d")


OLD, NEW = 1022, 1023


BROKEN: Final = "TypeError: e.sendTextMsg is not a function"


CONFIGURED: Final = "c" * 64


ME: Final = "user 0 of this machine"


class Drill:
    """Sessions whose pages are what the network serves, or what they are told to load."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.world, self.network = bench, bench.world, OLD
        self.world.spawn.script = Script(reports=(CONNECTED,), loads=self.loads)
        self.lacks: dict[int, tuple[str, ...]] = {}
        """What pages of a version lack."""
        self.unhealthy: Callable[[SessionActor], None] = lambda _: None
        """What pages of the new version do."""

    def loads(self, spec: WorkerSpec | WorkerRecord) -> PageVersion:
        stored = spec.document if isinstance(spec, WorkerSpec) else None
        revision = stored.revision if stored else self.network
        self.world.documents.there.add(revision)
        return PageVersion(
            page=revision,
            document=revision,
            wajs=(isinstance(spec, WorkerSpec) and spec.wajs_sha256) or CONFIGURED,
            wajs_version="4.6.0",
            served_by="store" if stored else "network",
            missing=self.lacks.get(revision, ()),
        )

    @property
    def sessions(self) -> list[SessionActor]:
        return self.bench.it.registry.sessions

    def page(self, name: str) -> int | None:
        report = self.bench.session(name).runner.report
        return report.version.page if report and report.version else None

    async def up(self) -> None:
        """All are connected, and OLD is proven."""
        await self.come_up()
        await self.run(15)
        assert OLD in self.bench.it.versions.state.good

    async def come_up(self) -> None:
        """All are started."""
        self.world.change("versions", good_after=10.0, well_for=3.0, pause=20.0)
        self.world.change("admission", session_memory=0)
        for number, name in enumerate(NAMES):
            report = {**CONNECTED, "phone": f"628{number}"}
            self.world.spawn.scripts[name] = Script(reports=(report,), loads=self.loads)
            await self.bench.row(name)
        await self.bench.restore()

    async def send(self, session: SessionActor) -> None:
        if session.link is Link.CONNECTED:
            self.world.clock.advance(0.01)
            await session.traffic.send(TEXT)  # its worker may end just now

    async def run(self, seconds: int) -> None:
        """Everybody sends; what the new version breaks throws."""
        for _ in range(seconds):
            self.world.clock.advance(1.0)
            for session in self.sessions:
                heard(session)
                if (self.page(session.name) or 0) == NEW:
                    self.unhealthy(session)
                else:
                    await self.send(session)
            await self.bench.it.watchdog.watch()
            await asyncio.sleep(0.002)

    async def until(self, condition: Callable[[], bool], *, within: int = 120) -> None:
        for _ in range(within):
            if condition():
                return
            await self.run(1)
        raise AssertionError(self.bench.it.versions.state)

    async def load_new(self, *names: str) -> None:
        self.network = NEW
        for name in names:
            await self.bench.it.sessions.start(name, restart=True)
        loaded = set[str]()

        def all_have_loaded_it() -> bool:
            """At some time: the first ones may be on trial with OLD before the last ones have it."""
            loaded.update(name for name in names if self.page(name) == NEW)
            return loaded == set(names)

        await self.until(all_have_loaded_it, within=30)
