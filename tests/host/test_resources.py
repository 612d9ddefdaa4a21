"""What the host has left, read from files that a test wrote."""

from pathlib import Path

import pytest

from waguard.core.host.admission import Reading
from waguard.host.system.resources import read

MB = 1 << 20


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def put(root: Path, folder: str, **files: object) -> None:
    """Files of a control group; their dots are underscores here."""
    at = root / "sys/fs/cgroup" / folder
    at.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (at / name.replace("_", ".", 1)).write_text(f"{value}\n")


def kernel(root: Path) -> None:
    write(
        root,
        proc__meminfo="MemTotal:        2000000 kB\nMemFree:  9 kB\nMemAvailable:    1024000 kB\n",
        proc__pressure__memory="some avg10=23.45 avg60=1.00 avg300=0.00 total=9\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=1\n",
        proc__sys__kernel__pid_max="32768\n",
        proc__loadavg="0.10 0.20 0.30 2/768 4711\n",
    )
    (root / "proc/sys/kernel/threads-max").write_text("15000\n")


def test_nothing_can_be_read(tmp_path: Path) -> None:
    assert read(tmp_path) == Reading(memory=None, pressure=None, pids=None)


def test_the_kernel_alone(tmp_path: Path) -> None:
    kernel(tmp_path)
    assert read(tmp_path) == Reading(memory=1000 * MB, pressure=23.45, pids=15_000 - 768)


def test_the_lowest_limit_of_all_groups_above_ours(tmp_path: Path) -> None:
    kernel(tmp_path)
    write(tmp_path, proc__self__cgroup="4:memory:/old\n0::/system.slice/waguard.service\n")
    put(
        tmp_path,
        "system.slice/waguard.service",
        memory_max="max",
        memory_current=300 * MB,
        pids_max=400,
        pids_current=100,
    )
    put(
        tmp_path,
        "system.slice",
        memory_max=500 * MB,
        memory_current=400 * MB,
        memory_stat=f"anon 1\ninactive_file {50 * MB}\nactive_file 7",
        pids_max="max",
        pids_current=900,
    )
    assert read(tmp_path) == Reading(memory=150 * MB, pressure=23.45, pids=300)


def test_a_group_that_is_the_root_of_what_is_mounted(tmp_path: Path) -> None:
    """In a container."""
    write(tmp_path, proc__self__cgroup="0::/\n")
    put(tmp_path, ".", memory_max=100 * MB, memory_current=120 * MB)
    assert read(tmp_path).memory == 0


def test_a_group_that_lies_outside_of_what_is_mounted(tmp_path: Path) -> None:
    write(tmp_path, proc__self__cgroup="0::/../other\n")
    assert read(tmp_path) == Reading()


def test_the_old_control_groups_say_nothing(tmp_path: Path) -> None:
    kernel(tmp_path)
    write(tmp_path, proc__self__cgroup="4:memory:/x\n")
    put(tmp_path, "x", memory_max=1, memory_current=1)
    assert read(tmp_path).memory == 1000 * MB


@pytest.mark.parametrize(
    "odd", ["", "\n\n", "some\n", "some avg10=x\n", "full avg10=1.0\n", "\x00"]
)
def test_files_that_say_something_else(tmp_path: Path, odd: str) -> None:
    write(
        tmp_path,
        proc__meminfo=odd,
        proc__pressure__memory=odd,
        proc__loadavg=odd,
        proc__self__cgroup=odd,
        proc__sys__kernel__pid_max=odd,
    )
    assert read(tmp_path) == Reading()


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    kernel(tmp_path)
    (tmp_path / "proc/meminfo").write_bytes(b"\xff\xfe")
    assert read(tmp_path).memory is None


def test_resources_of_this_machine_can_be_read() -> None:
    here = read()
    assert here.memory
    assert here.pids
