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

THREADS = """
import threading
from pathlib import Path
from waguard.host.process import heap

heap.share()
pieces = []
threads = [threading.Thread(target=lambda: pieces.append(bytes(1_000))) for _ in range(8)]
for thread in threads:
    thread.start()
    thread.join()
lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
(heap_range,) = [line[0] for line in lines if line[-1] == "[heap]"]
start, end = (int(address, 16) for address in heap_range.split("-"))
print(all(start <= id(piece) < end for piece in pieces))
"""

LARGE = """
from pathlib import Path
from waguard.host.process import heap

heap.hold_nothing()
first = bytes(1 << 20)
del first  # else glibc learns from it that such a size comes and goes
second = bytes(1 << 20)
lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
(heap_range,) = [line[0] for line in lines if line[-1] == "[heap]"]
start, end = (int(address, 16) for address in heap_range.split("-"))
print(start <= id(second) < end)
"""


@pytest.mark.skipif(heap._mallopt is None, reason="another C library")
async def test_what_is_large_is_never_part_of_the_heap() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LARGE), stdout=subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert printed.split() == [b"False"]


@pytest.mark.skipif(heap._mallopt is None, reason="another C library")
async def test_threads_share_one_heap() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", THREADS), stdout=subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert printed.split() == [b"True"]


@pytest.mark.skipif(heap._malloc_trim is None, reason="another C library")
async def test_what_is_free_below_what_is_used_is_given_back() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM), stdout=subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert int(printed) > 50 * MEGABYTE


async def test_another_c_library_has_no_such_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "_malloc_trim", None)
    monkeypatch.setattr(heap, "_mallopt", None)
    heap.share()
    heap.hold_nothing()
    await heap.trim()
