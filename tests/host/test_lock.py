import fcntl
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import pytest

from tests.host.processes import clean_environment, program, waguard
from tests.waiting import block_until
from waguard.errors import ConfigError, InstanceHeldError
from waguard.host.files.lock import InstanceLock, PidFile, acquire, private_folder, read_pid_file
from waguard.host.process import procfs

API: Final = "http://127.0.0.1:3001"

# takes the lock as a daemon does, and keeps it until it is killed
HOLDER: Final = """
import sys, time
from pathlib import Path
from waguard.host.files.lock import acquire
lock = acquire(Path(sys.argv[1]))
if len(sys.argv) > 2:
    lock.publish(sys.argv[2])
print(lock.instance, flush=True)
time.sleep(600)
"""
HEAVY: Final = {
    *("asyncio", "aiohttp", "sqlalchemy", "alembic", "loguru", "apscheduler", "psutil"),
    *("pyppeteer", "rich", "cryptography", "segno", "aiosqlite", "waguard.daemon"),
}

pytestmark = pytest.mark.usefixtures("no_child_left")


def pid_file(runtime: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((runtime / "waguard.pid").read_text())
    return found


def write_pid_file(runtime: Path, **changes: object) -> None:
    me = os.getpid()
    content = {
        "pid": me,
        "start_time": procfs.start_time(me),
        "boot_id": procfs.boot_id(),
        "api": API,
        "instance": "f00d",
    }
    private_folder(runtime)
    (runtime / "waguard.pid").write_text(json.dumps(content | changes) + "\n")


def is_free(runtime: Path) -> bool:
    with (runtime / "waguard.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


# ---- a folder that is removed under its holder ----


@pytest.mark.parametrize("what", ["all", "waguard.lock", "waguard.pid"])
def test_what_was_removed_is_noticed_and_made_again(tmp_path: Path, what: str) -> None:
    runtime = tmp_path / "run"
    lock = acquire(runtime)
    lock.publish(API)
    before = pid_file(runtime)
    assert lock.in_place
    shutil.rmtree(runtime) if what == "all" else (runtime / what).unlink()
    assert not lock.in_place
    lock.renew()
    assert lock.in_place
    assert pid_file(runtime) == before
    with pytest.raises(InstanceHeldError):
        acquire(runtime)
    lock.release()
    assert is_free(runtime)


def test_what_another_instance_has_taken_meanwhile_is_left_to_it(tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    lock = acquire(runtime)
    lock.publish(API)
    shutil.rmtree(runtime)
    other = acquire(runtime)
    other.publish("http://127.0.0.1:3002")
    assert not lock.in_place
    with pytest.raises(InstanceHeldError):
        lock.renew()
    lock.release()
    assert pid_file(runtime)["instance"] == other.instance
    assert other.in_place
    other.release()


def test_a_lock_whose_file_was_deleted_still_excludes_a_second_instance(
    tmp_path: Path,
) -> None:
    with program(HOLDER, str(tmp_path), API) as holder:
        (tmp_path / "waguard.lock").unlink()
        with pytest.raises(InstanceHeldError) as refused:
            acquire(tmp_path)
        assert f"pid {holder.pid}" in refused.value.message
        assert f"API at {API}" in refused.value.message
        assert is_free(tmp_path), "the holder can still lock the new file"
    acquire(tmp_path).release()


def test_a_lock_file_that_is_deleted_while_it_is_locked_is_locked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, locked = fcntl.flock, 0

    def flock(descriptor: int, how: int) -> None:
        nonlocal locked
        real(descriptor, how)
        locked += 1
        if locked == 1:
            (tmp_path / "waguard.lock").unlink()

    monkeypatch.setattr(fcntl, "flock", flock)
    lock = acquire(tmp_path)
    monkeypatch.undo()
    assert locked == 2
    assert not is_free(tmp_path)
    lock.release()


# ---- one process ----


def test_the_holder_says_who_it_is(tmp_path: Path) -> None:
    runtime = tmp_path / "deep" / "run"
    lock = acquire(runtime)
    lock.publish(API)
    me = os.getpid()
    assert pid_file(runtime) == {
        "pid": me,
        "start_time": procfs.start_time(me),
        "boot_id": procfs.boot_id(),
        "api": API,
        "instance": lock.instance,
    }
    assert (runtime / "waguard.pid").read_text().count("\n") == 1
    assert read_pid_file(runtime) == PidFile(**pid_file(runtime))
    assert stat.S_IMODE(runtime.stat().st_mode) == 0o700
    assert stat.S_IMODE((runtime / "waguard.lock").stat().st_mode) == 0o600
    lock.release()


def test_a_released_lock_is_free_and_says_nothing(tmp_path: Path) -> None:
    first = acquire(tmp_path)
    first.publish(API)
    assert not is_free(tmp_path)
    first.release()
    assert is_free(tmp_path)
    assert not (tmp_path / "waguard.pid").exists()
    second = acquire(tmp_path)
    assert second.instance != first.instance
    second.release()


def test_a_child_does_not_inherit_the_lock(tmp_path: Path) -> None:
    """A worker that outlives its daemon must not keep the next daemon out."""
    lock = acquire(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False
    ) as child:
        lock.release()
        # the child's copy goes with its exec, which the kernel may report a moment early
        block_until(lambda: is_free(tmp_path), "the lock is free while the child lives")
        assert child.poll() is None
        child.kill()


def test_the_refusal_names_pid_since_and_api(tmp_path: Path) -> None:
    lock = acquire(tmp_path)
    with pytest.raises(InstanceHeldError) as early:
        acquire(tmp_path)
    lock.publish(API)
    with pytest.raises(InstanceHeldError) as late:
        acquire(tmp_path)
    lock.release()
    assert f"pid {os.getpid()} since 20" in early.value.message
    assert "API not up yet" in early.value.message
    assert f"API at {API}" in late.value.message
    assert late.value.code == 3


def test_the_refused_one_leaves_the_holders_files_alone(tmp_path: Path) -> None:
    lock = acquire(tmp_path)
    lock.publish(API)
    before = (tmp_path / "waguard.pid").read_bytes()
    with pytest.raises(InstanceHeldError):
        acquire(tmp_path)
    assert (tmp_path / "waguard.pid").read_bytes() == before
    assert not is_free(tmp_path)
    lock.release()


@pytest.mark.parametrize(
    "changes",
    [
        {"start_time": 1},
        {"boot_id": "another boot"},
        {"pid": 2**22 + 1},
        {"pid": 2**40},
        {"pid": "text"},
        {"instance": None},
    ],
    ids=str,
)
def test_a_stale_pid_file_is_nobody_and_no_obstacle(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    """Also where the pid lives on as another program's: here it is this test's own."""
    write_pid_file(tmp_path, **changes)
    assert read_pid_file(tmp_path) is None
    acquire(tmp_path).release()


def test_a_stale_pid_file_is_not_taken_for_the_holders(tmp_path: Path) -> None:
    with program(HOLDER, str(tmp_path)) as holder:
        write_pid_file(tmp_path, start_time=1, api="http://yesterday")
        with pytest.raises(InstanceHeldError) as refused:
            acquire(tmp_path)
    assert f"pid {holder.pid}" in refused.value.message
    assert "yesterday" not in refused.value.message


@pytest.mark.parametrize("content", [b"", b"{", b"42\n", b"\xff\xfe", b"null"])
def test_a_pid_file_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "waguard.pid").write_bytes(content)
    assert read_pid_file(tmp_path) is None
    acquire(tmp_path).release()


def test_a_runtime_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for runtime in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(ConfigError) as refused:
            acquire(runtime)
        assert refused.value.field == "paths.runtime"
        assert str(runtime) in refused.value.line()


def test_a_lock_file_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "waguard.lock").mkdir()
    with pytest.raises(ConfigError, match="cannot be used"):
        acquire(tmp_path)


def test_an_existing_folder_keeps_its_mode(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o750)
    private_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750


def test_the_pid_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    lock = acquire(tmp_path)
    lock.publish(API)
    with (tmp_path / "waguard.pid").open() as before:
        lock.publish("http://[::1]:1")
        assert json.loads(before.read())["api"] == API
    assert pid_file(tmp_path)["api"] == "http://[::1]:1"
    assert {path.name for path in tmp_path.iterdir()} == {"waguard.lock", "waguard.pid"}
    lock.release()


# ---- a real second process ----


def test_a_second_instance_is_refused_in_one_line(short_path: Path) -> None:
    runtime = short_path / "run"
    with program(HOLDER, str(runtime), API) as holder:
        begin = time.monotonic()
        second = waguard("run", folder=short_path)
        took = time.monotonic() - begin
    print(f"a refused second instance took {took * 1000:.0f} ms")
    assert second.returncode == 3
    assert second.stdout == ""
    (line,) = second.stderr.splitlines()
    assert line.startswith("waguard: another instance holds ")
    assert f"pid {holder.pid} since 20" in line
    assert f"API at {API}" in line


def test_a_refused_second_instance_imports_nothing_heavy(short_path: Path) -> None:
    code = (
        "import sys\nfrom waguard.cli import main\ncode = main(['run'])\n"
        "print(*sys.modules)\nsys.exit(code)"
    )
    with program(HOLDER, str(short_path / "run"), API):
        second = subprocess.run(
            [sys.executable, "-c", code],
            cwd=short_path,
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    assert second.returncode == 3
    modules = set(second.stdout.split())
    assert "waguard.host.files.lock" in modules
    assert not modules & HEAVY


def test_a_killed_holder_frees_the_lock(short_path: Path) -> None:
    with program(HOLDER, str(short_path), API) as holder:
        assert read_pid_file(short_path)
        holder.kill()
        holder.wait()
    assert (short_path / "waguard.pid").exists()
    assert read_pid_file(short_path) is None
    lock: InstanceLock = acquire(short_path)
    lock.release()


def test_configuration_then_lock_then_port(short_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = {"WAGUARD_API__PORT": str(taken.getsockname()[1])}
        wrong = {"WAGUARD_API__PROT": "1"}
        with program(HOLDER, str(short_path / "run"), API):
            first = waguard("run", folder=short_path, environ=port | wrong)
            second = waguard("run", folder=short_path, environ=port)
        third = waguard("run", folder=short_path, environ=port)
    assert (first.returncode, second.returncode, third.returncode) == (2, 3, 4)
    assert first.stderr.startswith("waguard: api.prot: ")
    assert f"pid {os.getpid()} (" in third.stderr
    assert len(third.stderr.splitlines()) == 1


def test_a_stale_pid_file_does_not_stop_the_real_thing(short_path: Path) -> None:
    """The port that is in use proves that the lock was taken; then nothing is left of it."""
    write_pid_file(short_path / "run", start_time=1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = {"WAGUARD_API__PORT": str(taken.getsockname()[1])}
        assert waguard("run", folder=short_path, environ=port).returncode == 4
    assert is_free(short_path / "run")
    assert not (short_path / "run" / "waguard.pid").exists()


def test_a_wrong_configuration_touches_nothing(short_path: Path) -> None:
    (short_path / "w.toml").write_text("[api]\nport = 'x'")
    refused = waguard("run", "--config", "w.toml", folder=short_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith("waguard: api.port: 'x' is not allowed")
    assert [path.name for path in short_path.iterdir()] == ["w.toml"]
