import pytest

from tests.core.engine_bench import EngineBench, connected


@pytest.fixture
def bench() -> EngineBench:
    """One session that is connected."""
    return connected()
