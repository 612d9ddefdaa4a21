"""Nothing of an earlier incarnation is left, whoever started it."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from tests.supervision.world import World, world
from waguard.errors import UnavailableError
from waguard.ports.process import Process
from waguard.supervision.cluster import sweeping
from waguard.wire.worker import WorkerRecord


@pytest.fixture
async def host() -> AsyncIterator[World]:
    async with world() as made:
        yield made


async def end_all(host: World, *started: Process, within: float = 5.0) -> None:
    paths = host.config.paths
    runtime, sessions = paths.runtime, paths.sessions
    await sweeping.end_all(host.spawn, started, runtime=runtime, sessions=sessions, within=within)


async def test_workers_of_this_daemon_and_of_earlier_ones_are_killed(host: World) -> None:
    left, own = await host.left_behind("left"), await host.left_behind("own")
    workers = host.config.paths.runtime / "workers"
    workers.mkdir(parents=True, exist_ok=True)
    (workers / "left.json").write_bytes(msgspec.json.encode(left.record))
    await end_all(host, own.process)
    assert (left.process.signals, own.process.signals) == (["KILL"], ["KILL"])


async def test_what_is_not_known_to_be_gone_is_tried_again_behind_the_others(
    host: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, own = await host.left_behind("left"), await host.left_behind("own")
    workers = host.config.paths.runtime / "workers"
    workers.mkdir(parents=True, exist_ok=True)
    (workers / "left.json").write_bytes(msgspec.json.encode(left.record))

    def adopt(_: WorkerRecord) -> None:
        raise UnavailableError("not known")

    with monkeypatch.context() as patch:
        patch.setattr(host.spawn, "adopt", adopt)
        with pytest.raises(UnavailableError, match="not known"):
            await end_all(host, own.process)
    assert own.process.signals == ["KILL"]
    await end_all(host, own.process)
    assert left.process.signals == ["KILL"]


async def test_what_does_not_end_is_reported_and_can_be_tried_again(
    host: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = await host.left_behind("own")
    monkeypatch.setattr(it.process, "kill", lambda: None)
    with pytest.raises(UnavailableError, match="do not end"):
        await end_all(host, it.process, within=0.05)
    monkeypatch.undo()
    await end_all(host, it.process)
