"""Every file that is read back at a start, in every state that it may be found in."""

import contextlib
import json
import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from tests.host.odd_files import Spoil, all_spoilt, mutations
from waguard.host import credentials, procfs, small_file, snapshots
from waguard.host.children import ExecSpawn, put_unreadable_records_aside, read_records
from waguard.host.lock import PidFile, acquire, read_pid_file
from waguard.host.media import MediaFolder
from waguard.host.snapshots import SnapshotDamagedError
from waguard.wire.protocol import WorkerRecord

SPOILT = all_spoilt()
odd = pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())


def record(pid: int = 1) -> WorkerRecord:
    return WorkerRecord(
        pid=pid,
        start_time=procfs.start_time(pid) or 0,
        boot_id=procfs.boot_id(),
        instance="f00d",
        session="boot",
        generation=1,
        profile="/p",
        socket="/s",
    )


def written(pid: int = 1) -> bytes:
    return msgspec.json.encode(record(pid))


# ---- records of workers ----


@odd
def test_an_odd_record_is_put_aside_and_the_others_are_read(tmp_path: Path, spoil: Spoil) -> None:
    (tmp_path / "a.json").write_bytes(written())
    spoil(tmp_path / "b.json", written())
    (tmp_path / "c.json").write_bytes(written())
    good = [tmp_path / "a.json", tmp_path / "c.json"]
    assert [path for path, _ in read_records(tmp_path)] == good
    [(path, why)] = put_unreadable_records_aside(tmp_path).items()
    assert path == tmp_path / "b.json"
    assert why.startswith("it ")
    assert not os.path.lexists(path)
    assert os.path.lexists(tmp_path / "b.json.unreadable"), "it stays as evidence"
    assert [path for path, _ in read_records(tmp_path)] == good
    assert put_unreadable_records_aside(tmp_path) == {}


def test_what_was_put_aside_before_is_no_obstacle(tmp_path: Path) -> None:
    for _ in range(3):
        (tmp_path / "a.json").mkdir()
        assert list(put_unreadable_records_aside(tmp_path)) == [tmp_path / "a.json"]
        (tmp_path / "a.json").touch()
        assert list(put_unreadable_records_aside(tmp_path)) == [tmp_path / "a.json"]
    assert not (tmp_path / "a.json").exists()


async def test_no_mutation_of_a_record_stops_the_restore_or_reaches_another_process(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.json"
    readable = 0
    with subprocess.Popen(["sleep", "600"]) as stranger:
        plain = written(stranger.pid)
        for content in mutations(plain):
            path.write_bytes(content)
            put_unreadable_records_aside(tmp_path)
            for _, told in read_records(tmp_path):
                readable += 1
                process = ExecSpawn().adopt(told)
                assert process is None or process.pid == stranger.pid
        stranger.kill()
    assert readable > 10, "some are valid, and say other things"


# ---- the pid file ----


def pid_file() -> bytes:
    me = os.getpid()
    started = procfs.start_time(me) or 0
    return msgspec.json.encode(
        PidFile(pid=me, start_time=started, boot_id=procfs.boot_id(), api="boot", instance="f")
    )


@odd
def test_an_odd_pid_file_is_nobody_and_is_put_aside_at_the_next_start(
    tmp_path: Path, spoil: Spoil
) -> None:
    path = tmp_path / "waguard.pid"
    spoil(path, pid_file())
    assert read_pid_file(tmp_path) is None
    lock = acquire(tmp_path)
    lock.publish("http://127.0.0.1:3001")
    assert lock.found_unreadable
    assert os.path.lexists(tmp_path / "waguard.pid.unreadable")
    told = read_pid_file(tmp_path)
    assert told
    assert told.instance == lock.instance
    lock.release()


def test_a_stale_pid_file_is_replaced_and_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "waguard.pid").write_bytes(pid_file().replace(b'"start_time":', b'"start_time":1'))
    lock = acquire(tmp_path)
    lock.publish("http://127.0.0.1:3001")
    assert lock.found_unreadable is None
    lock.release()


def test_no_mutation_of_a_pid_file_is_more_than_nobody(tmp_path: Path) -> None:
    for content in mutations(pid_file()):
        (tmp_path / "waguard.pid").write_bytes(content)
        found = read_pid_file(tmp_path)
        assert found is None or found.pid == os.getpid()


# ---- notes in profiles and snapshots ----


@odd
def test_an_odd_note_in_a_profile_is_no_note(tmp_path: Path, spoil: Spoil) -> None:
    spoil(tmp_path / credentials.PAIRING, b'{"token": "boot", "at": 1}')
    spoil_is_readable = credentials.pairing(tmp_path)
    assert spoil_is_readable is None
    assert credentials.paired_at(tmp_path) is None


@pytest.mark.parametrize("at", ["1e999", "null", '"x"', "[]", "NaN"])
def test_an_odd_time_of_pairing_is_no_obstacle(tmp_path: Path, at: str) -> None:
    (tmp_path / credentials.PAIRING).write_text(f'{{"token": "t", "at": {at}}}')
    assert credentials.pairing(tmp_path) == "t"
    assert not credentials.paired_at(tmp_path) or at in {"1e999", "NaN"}


MANIFEST = json.dumps(
    {
        "format": 1,
        "pairing": "boot",
        "taken_at": 1.0,
        "running": False,
        "archive": {"size": 1, "sha256": "f"},
        "files": {"a": {"size": 1, "sha256": "f"}},
    }
).encode()


@odd
def test_a_snapshot_with_an_odd_manifest_is_damaged(tmp_path: Path, spoil: Spoil) -> None:
    folder = tmp_path / "20260101T000000Z"
    folder.mkdir()
    spoil(folder / snapshots.MANIFEST, MANIFEST)
    with pytest.raises(SnapshotDamagedError):
        snapshots.read_manifest(folder)
    assert not any(snapshot.intact for snapshot in snapshots.known(tmp_path))


def test_no_mutation_of_a_manifest_is_more_than_damage(tmp_path: Path) -> None:
    for content in (*mutations(MANIFEST), MANIFEST.replace(b'"size": 1', b'"size": 1e999')):
        (tmp_path / snapshots.MANIFEST).write_bytes(content)
        with contextlib.suppress(SnapshotDamagedError):
            assert snapshots.read_manifest(tmp_path).id == tmp_path.name


# ---- the reader itself ----


def test_a_file_of_ours_is_read_and_a_missing_one_is_missing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"text")
    assert small_file.read(tmp_path / "a") == b"text"
    with pytest.raises(FileNotFoundError):
        small_file.read(tmp_path / "b")


def test_a_media_note_that_is_odd_costs_only_the_type(tmp_path: Path) -> None:
    folder = MediaFolder(tmp_path)
    name = folder.keep(b"content", "image/png")
    [note] = tmp_path.glob("??/*.json")
    for content in (*mutations(note.read_bytes()), b'{"a":' * 10_000):
        note.write_bytes(content)
        found = folder.find(name)
        assert found
        assert found[0].read_bytes() == b"content"
