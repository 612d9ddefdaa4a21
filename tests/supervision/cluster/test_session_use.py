"""How many more sessions a host can take, and which of its own others could have."""

import msgspec
import pytest

from tests.supervision.bench import Bench
from tests.supervision.sessions import cause, until, up
from tests.supervision.world import World
from waguard.core.host.admission import Cause, Reading
from waguard.supervision.cluster.session_use import UNLIMITED, SessionsHere

MB = 1 << 20


@pytest.fixture
def use(bench: Bench, world: World) -> SessionsHere:
    world.config = msgspec.structs.replace(
        world.config,
        admission=msgspec.structs.replace(
            world.config.admission, session_memory=200, memory_reserve=300
        ),
    )
    return SessionsHere(
        lambda: bench.it.registry, lambda: world.config, world.clock, lambda: world.host
    )


async def test_what_is_owned_and_has_not_started_has_no_memory_yet(
    use: SessionsHere, bench: Bench, world: World
) -> None:
    world.host = Reading(memory=1_300 * MB, pressure=0.0)
    assert use.room([]) == 5
    assert use.room(["a", "b"]) == 3, "they will take theirs"
    await up(await bench.add("a"))
    assert use.room(["a", "b"]) == 4
    assert use.room(["a"]) == 5


async def test_what_cannot_be_read_is_not_short(use: SessionsHere, world: World) -> None:
    world.host = Reading()
    assert use.room([]) == UNLIMITED
    cluster = msgspec.structs.replace(world.config.cluster, max_sessions=3)
    world.config = msgspec.structs.replace(world.config, cluster=cluster)
    assert use.room(["a", "b"]) == 1


async def test_under_pressure_there_is_no_room(use: SessionsHere, world: World) -> None:
    world.host = Reading(memory=10_000 * MB, pressure=90.0)
    assert use.room([]) == 0


async def test_one_that_nobody_uses_for_a_while_is_idle(
    use: SessionsHere, bench: Bench, world: World
) -> None:
    session = await bench.add()
    assert use.knows("s")
    assert not use.knows("t")
    await up(session)
    assert use.idle() == frozenset()
    world.clock.advance(61.0)
    assert use.idle() == {"s"}


async def test_one_that_waits_for_memory_is_for_another_host_after_a_minute(
    use: SessionsHere, bench: Bench, world: World
) -> None:
    world.host = Reading(memory=1 * MB)
    session = await bench.add()
    session.start()
    await until(session, lambda it: cause(it) is Cause.MEMORY)
    assert use.not_admitted() == []
    world.clock.advance(61.0)
    assert use.not_admitted() == ["s"]
