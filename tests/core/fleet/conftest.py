import pytest

from tests.core.engine_bench import EngineBench
from tests.core.fleet.four import BROKEN, FOUR
from waguard.core.link import Link


@pytest.fixture
def fleet() -> EngineBench:
    """Four sessions that are up; their browsers do not start any more."""
    bench = EngineBench("a", "b", "d")
    bench.add("c", priority=1)
    bench.start(*FOUR)
    assert all(bench.link(name) is Link.CONNECTED for name in FOUR)
    bench.script = BROKEN
    return bench
