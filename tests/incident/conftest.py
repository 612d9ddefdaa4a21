"""What both kinds of tests here need: the fake host, and the real thing."""

from tests.e2e.conftest import world as real
from tests.supervision.bench import bench, empty
from tests.supervision.conftest import world

__all__ = ["bench", "empty", "real", "world"]
