"""What sessions use, from a /proc that a test wrote, and from the real one."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.host.processes import no_descriptor
from waguard.host.process.usage import STALE, Meter
from waguard.ports.process import Usage

MB = 1 << 20
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Proc:
    """A /proc, and a meter that looks at it."""

    root: Path

    def __post_init__(self) -> None:
        self.folder = self.root / "proc"
        (self.folder / "self").mkdir(parents=True)
        self.meter = Meter(self.root)

    def process(
        self, pid: int, group: int, *, seconds: float = 0.0, pss: int = 0, private: int = 0
    ) -> None:
        at = self.folder / str(pid)
        at.mkdir(exist_ok=True)
        ticks = int(seconds * TICKS)
        numbers = " ".join(["0"] * 8)
        (at / "stat").write_text(
            f"{pid} (a ) b) S 1 {group} {numbers} {ticks} {ticks} 0 0 20 0 1 0 {pid}99 0 0\n"
        )
        pages = private * MB // PAGE
        (at / "statm").write_text(f"9999 {pages + 10} 10 1 0 1 0\n")
        (at / "smaps_rollup").write_text(
            f"0-1 ---p 0 0 0 [rollup]\nRss: 9 kB\nPss: {pss << 10} kB\n"
        )

    def sample(self, now: float = 0.0, **groups: tuple[int, ...]) -> dict[str, Usage]:
        return self.meter.sample(groups or {"s": (10, 20)}, now)


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def test_the_groups_of_worker_and_browser_count(proc: Proc) -> None:
    proc.process(10, 10, pss=11)
    proc.process(20, 20, pss=90)
    proc.process(21, 20, pss=70)
    proc.process(30, 30, pss=500)
    assert proc.sample() == {"s": Usage(cpu_percent=None, memory=171 * MB)}


def test_the_share_of_a_core_is_between_two_samples(proc: Proc) -> None:
    proc.process(10, 10, seconds=1.0)
    proc.process(20, 20, seconds=100.0)
    assert proc.sample(0.0)["s"].cpu_percent is None
    proc.process(10, 10, seconds=1.5)  # user and system each
    shutil.rmtree(proc.folder / "20")  # and what this one used is gone with it
    proc.process(21, 20, seconds=1.0)
    assert proc.sample(10.0)["s"].cpu_percent == pytest.approx(30.0)


def test_a_session_of_which_nothing_is_left_is_left_out_and_begins_again(proc: Proc) -> None:
    proc.process(10, 10, seconds=5.0)
    proc.sample(0.0)
    shutil.rmtree(proc.folder / "10")
    assert proc.sample(1.0) == {}
    proc.process(10, 10, seconds=6.0)
    assert proc.sample(2.0)["s"].cpu_percent is None


def test_memory_is_measured_again_only_where_private_pages_have_changed(proc: Proc) -> None:
    proc.process(10, 10, pss=100, private=80)
    assert proc.sample(0.0)["s"].memory == 100 * MB
    proc.process(10, 10, pss=300, private=82)
    assert proc.sample(1.0)["s"].memory == 100 * MB
    proc.process(10, 10, pss=300, private=90)
    assert proc.sample(2.0)["s"].memory == 300 * MB
    proc.process(10, 10, pss=310, private=90)
    assert proc.sample(3.0 + STALE)["s"].memory == 310 * MB


def test_a_process_that_goes_meanwhile(proc: Proc) -> None:
    proc.process(10, 10, pss=100)
    (proc.folder / "20").mkdir()
    proc.process(21, 20, pss=50)
    (proc.folder / "21/smaps_rollup").unlink()
    (proc.folder / "21/statm").unlink()
    assert proc.sample()["s"].memory == 100 * MB


@pytest.mark.parametrize("spare", [0, 1])
def test_nothing_is_measured_while_no_descriptor_is_left(proc: Proc, spare: int) -> None:
    """A process would seem to be gone, or to use nothing."""
    proc.process(10, 10, pss=100, private=80, seconds=1.0)
    proc.sample(0.0)
    proc.process(10, 10, pss=300, private=90, seconds=2.0)
    with no_descriptor(spare=spare):
        assert proc.sample(1.0) == {}
    assert proc.sample(10.0) == {"s": Usage(cpu_percent=20.0, memory=300 * MB)}


def test_sessions_are_distinguished(proc: Proc) -> None:
    proc.process(10, 10, pss=1)
    proc.process(20, 20, pss=2)
    used = proc.sample(a=(10,), b=(20,), c=(30,))
    assert {name: usage.memory for name, usage in used.items()} == {"a": MB, "b": 2 * MB}


def test_a_real_process() -> None:
    code = "import sys; held = bytearray(64 << 20); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as child:
        assert child.stdout
        child.stdout.readline()
        meter = Meter()
        assert meter.sample({"s": (child.pid,)}, 0.0)["s"].memory > 64 * MB
        usage = meter.sample({"s": (child.pid,)}, 1.0)["s"]
        assert usage.cpu_percent is not None
        assert child.stdin
        child.stdin.close()
