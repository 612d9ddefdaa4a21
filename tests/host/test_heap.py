"""What was freed does not stay."""

import asyncio
import subprocess
import sys

import pytest

from waguard.host.process import heap

MEGABYTE = 1 << 20
# every second piece is freed, so that the end of the heap never is
PROGRAM = """
import asyncio, gc
from pathlib import Path
from waguard.host.process import heap

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

pieces = [bytes(64 << 10) for _ in range(2_000)]
kept = pieces[::100]
del pieces
before = resident()
asyncio.run(heap.trim())
print(before - resident())
"""


@pytest.mark.skipif(heap._malloc_trim is None, reason="another C library")
async def test_what_is_free_below_what_is_used_is_given_back() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM), stdout=subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert int(printed) > 50 * MEGABYTE


async def test_another_c_library_has_no_such_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "_malloc_trim", None)
    await heap.trim()
