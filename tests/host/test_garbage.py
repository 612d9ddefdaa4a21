"""What a fork server has is never freed, and nobody counts who uses it."""

import asyncio
import subprocess
import sys

import pytest

PROGRAM = """
import gc, sys
from waguard.host.process import garbage

class Known:
    pass

{change}
garbage.keep()
before = sys.getrefcount(Known)
users = [Known() for _ in range(10)]
print(sys.getrefcount(Known) - before, gc.isenabled(), gc.get_freeze_count() > 1_000)
del Known, users
"""


async def _printed(change: str = "") -> list[bytes]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM.format(change=change)), stdout=subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    return printed.split()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="counts each use of everything")
async def test_what_is_kept_is_not_counted() -> None:
    assert await _printed() == [b"0", b"False", b"True"]


async def test_a_python_that_counts_everything_goes_on_counting() -> None:
    assert await _printed("garbage._COUNTED = 1 << 40") == [b"10", b"False", b"True"]
