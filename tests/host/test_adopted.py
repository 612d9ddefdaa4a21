"""Workers that are adopted from a daemon that died, and their records."""

import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.host.processes import descriptors, ended, has_ended, listening, no_descriptor
from waguard.errors import UnavailableError
from waguard.host.process import procfs
from waguard.host.process.children import ExecSpawn, read_records
from waguard.wire.worker import WorkerRecord

pytestmark = pytest.mark.usefixtures("no_child_left")

# ---- adoption ----


@pytest.fixture
async def adopted() -> AsyncIterator["subprocess.Popen[bytes]"]:
    """A process that nobody here started by ``ExecSpawn``."""
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        yield process
        process.kill()


def record(pid: int, /, **changes: Any) -> WorkerRecord:
    plain = WorkerRecord(
        pid=pid,
        start_time=procfs.start_time(pid) or 0,
        boot_id=procfs.boot_id(),
        instance="f00d",
        session="a",
        generation=1,
        profile="/p",
        socket="/s",
    )
    return msgspec.structs.replace(plain, **changes)


async def test_an_adopted_worker_is_asked_to_stop_and_its_code_is_unknown(
    adopted: "subprocess.Popen[bytes]",
) -> None:
    process = ExecSpawn().adopt(record(adopted.pid))
    assert process
    assert process.pid == adopted.pid
    await listening(process)  # it does already
    process.terminate()
    assert await ended(process) is None
    assert adopted.wait() == -signal.SIGTERM


async def test_an_adopted_worker_is_killed_with_its_group(
    adopted: "subprocess.Popen[bytes]",
) -> None:
    process = ExecSpawn().adopt(record(adopted.pid))
    assert process
    process.kill()
    assert await ended(process) is None
    assert adopted.wait() == -signal.SIGKILL


@pytest.mark.parametrize(
    "changes",
    [{"start_time": 1}, {"boot_id": "another"}, {"pid": 2**22 + 1}, {"pid": 2**40}, {"pid": -1}],
    ids=str,
)
async def test_what_is_not_the_worker_is_not_adopted(
    adopted: "subprocess.Popen[bytes]", changes: dict[str, Any]
) -> None:
    before = descriptors()
    assert ExecSpawn().adopt(record(adopted.pid, **changes)) is None
    assert descriptors() == before
    assert adopted.poll() is None


async def test_a_zombie_counts_as_gone(adopted: "subprocess.Popen[bytes]") -> None:
    known = record(adopted.pid)
    adopted.kill()
    has_ended(adopted.pid)
    assert ExecSpawn().adopt(known) is None


@pytest.mark.parametrize("spare", [0, 1])
async def test_without_a_descriptor_nobody_counts_as_gone(
    adopted: "subprocess.Popen[bytes]", spare: int
) -> None:
    known, before = record(adopted.pid), descriptors()
    with no_descriptor(spare=spare), pytest.raises(UnavailableError, match="Too many open files"):
        ExecSpawn().adopt(known)
    assert descriptors() == before
    process = ExecSpawn().adopt(known)
    assert process
    with no_descriptor():
        process.kill()
    assert await ended(process) is None


async def test_a_stopped_worker_is_alive(adopted: "subprocess.Popen[bytes]") -> None:
    adopted.send_signal(signal.SIGSTOP)
    process = ExecSpawn().adopt(record(adopted.pid))
    assert process
    process.kill()
    assert await ended(process) is None


# ---- records ----


def test_records_are_read_in_order_and_what_is_none_is_passed_over(tmp_path: Path) -> None:
    assert read_records(tmp_path / "missing") == []
    known = record(1)
    for name in ("b.json", "a.json"):
        (tmp_path / name).write_bytes(msgspec.json.encode(known))
    (tmp_path / "half.json").write_bytes(msgspec.json.encode(known)[:-3])
    (tmp_path / "other.json").write_text('{"pid": "1"}')
    (tmp_path / "binary.json").write_bytes(b'{"pid": "\xff"}')
    (tmp_path / "empty.json").touch()
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "a.sock").touch()
    assert read_records(tmp_path) == [(tmp_path / "a.json", known), (tmp_path / "b.json", known)]
