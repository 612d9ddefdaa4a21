"""What the host holds, as the reconciler reads it."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from waguard.core.reconcile import Host, Stored, Wanted, Worker, findings
from waguard.host.process import procfs
from waguard.profile import layout
from waguard.supervision.fleet.inventory import places_on_disk, read_inventory
from waguard.wire.worker import WorkerRecord


def stock(folder: Path) -> Host:
    return read_inventory(folder / "sessions", folder / "workers", instance="me")


def record(folder: Path, **changes: object) -> None:
    pid = os.getpid()
    reported = WorkerRecord(
        pid=pid,
        start_time=procfs.start_time(pid) or 0,
        boot_id=procfs.boot_id(),
        instance="me",
        session="a",
        generation=1,
        profile="",
        socket="",
    )
    (folder / "workers").mkdir(exist_ok=True)
    changed = msgspec.structs.replace(reported, **changes)
    path = folder / "workers" / f"{changed.session}.json"
    path.write_bytes(msgspec.json.encode(changed))


def test_what_cannot_be_read_is_unknown_and_not_empty(tmp_path: Path) -> None:
    assert stock(tmp_path) == Host(profiles=None, workers=None)
    (tmp_path / "sessions").mkdir()
    (tmp_path / "workers").mkdir()
    assert stock(tmp_path) == Host(profiles={}, workers={})


def test_a_folder_that_fails_in_the_middle_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sessions/workspace_1/session-a/Default").mkdir(parents=True)
    assert stock(tmp_path).profiles

    listed = os.scandir

    def fail_below(path: Path | str) -> Iterator[os.DirEntry[str]]:
        if str(path).endswith("workspace_1"):
            raise PermissionError(13, "Permission denied", str(path))
        yield from listed(path)

    monkeypatch.setattr(os, "scandir", fail_below)
    assert stock(tmp_path).profiles is None


def test_profiles_and_what_only_resembles_one(tmp_path: Path) -> None:
    sessions = tmp_path / "sessions"
    (layout.path(sessions, 1, "a") / "Default/Local Storage").mkdir(parents=True)
    # removed under a browser that lives, and makes some of it anew
    (layout.path(sessions, 1, "emptied") / "Default/Cache").mkdir(parents=True)
    layout.path(sessions, 2, "never-started").mkdir(parents=True)
    (sessions / "snapshots/workspace_3/session-only-copies/broken").mkdir(parents=True)
    (sessions / "quarantine/a-20261125").mkdir(parents=True)
    (sessions / "workspace_x/session-b").mkdir(parents=True)
    (sessions / "workspace_1/session-file").touch()
    assert places_on_disk(sessions) == [
        (1, "a"),
        (1, "emptied"),
        (2, "never-started"),
        (3, "only-copies"),
    ]
    nothing = Stored(profile=False, copies=False)
    assert stock(tmp_path).profiles == {
        (1, "a"): Stored(profile=True, copies=False),
        (1, "emptied"): nothing,
        (2, "never-started"): nothing,
        (3, "only-copies"): nothing,
    }


def test_only_the_process_of_the_record_is_a_worker(tmp_path: Path) -> None:
    record(tmp_path)
    assert stock(tmp_path).workers == {os.getpid(): Worker(session="a", ours=True)}
    record(tmp_path, instance="earlier")
    assert stock(tmp_path).workers == {os.getpid(): Worker(session="a", ours=False)}
    record(tmp_path, start_time=1)
    assert stock(tmp_path).workers == {}
    record(tmp_path, boot_id="another boot")
    assert stock(tmp_path).workers == {}


def test_a_profile_that_was_moved_over_disks_is_one(tmp_path: Path) -> None:
    """Its only profile was reported as one without a row, to be quarantined, and saved twice."""
    sessions = tmp_path / "sessions"
    left = layout.path(sessions, 7, "s")
    (left / "Default/Local Storage").mkdir(parents=True)
    moved = layout.path(sessions, 8, "s")
    moved.parent.mkdir()
    moved.symlink_to(left)
    assert places_on_disk(sessions) == [(8, "s")]
    host = stock(tmp_path)
    assert host.profiles == {(8, "s"): Stored(profile=True, copies=False)}
    row = Wanted(up=True, status="connected", workspace=8, paired=True)
    assert findings({"s": row}, {}, host) == []
