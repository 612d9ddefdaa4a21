"""Every file that is read back at a start, in every state that it may be found in."""

import contextlib
import json
import os
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tests.host.odd_files import Spoil, all_spoilt, mutations
from waguard.api.auth import load_or_create_keys
from waguard.config.reading import load
from waguard.errors import ConfigError
from waguard.host import small_file
from waguard.host.files.lock import LOCK_FILE, PidFile, acquire, read_pid_file
from waguard.host.files.media import MediaFolder
from waguard.host.process import procfs
from waguard.host.process.children import ExecSpawn, quarantine_unreadable_records, read_records
from waguard.messaging.webhooks.signing import read_secrets
from waguard.profile import owner_mark, snapshot_archive, snapshots
from waguard.profile.owner_mark import PAIRING
from waguard.profile.snapshot_archive import SnapshotDamagedError
from waguard.wire.worker import WorkerRecord
from waguard.worker.browser import version as browser_version
from waguard.worker.browser.version import known_version

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
def test_an_odd_record_is_quarantined_and_the_others_are_read(tmp_path: Path, spoil: Spoil) -> None:
    (tmp_path / "a.json").write_bytes(written())
    spoil(tmp_path / "b.json", written())
    (tmp_path / "c.json").write_bytes(written())
    good = [tmp_path / "a.json", tmp_path / "c.json"]
    assert [path for path, _ in read_records(tmp_path)] == good
    [(path, why)] = quarantine_unreadable_records(tmp_path).items()
    assert path == tmp_path / "b.json"
    assert why.startswith("it ")
    assert not os.path.lexists(path)
    assert os.path.lexists(tmp_path / "b.json.unreadable"), "it stays as evidence"
    assert [path for path, _ in read_records(tmp_path)] == good
    assert quarantine_unreadable_records(tmp_path) == {}


def test_what_was_quarantined_before_is_no_obstacle(tmp_path: Path) -> None:
    for _ in range(3):
        (tmp_path / "a.json").mkdir()
        assert list(quarantine_unreadable_records(tmp_path)) == [tmp_path / "a.json"]
        (tmp_path / "a.json").touch()
        assert list(quarantine_unreadable_records(tmp_path)) == [tmp_path / "a.json"]
    assert not (tmp_path / "a.json").exists()
    assert len(list(tmp_path.glob("a.json*.unreadable"))) == 6, "evidence takes no other's place"


async def test_no_mutation_of_a_record_stops_the_restore_or_reaches_another_process(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.json"
    readable = 0
    with subprocess.Popen(["sleep", "600"]) as sleeper:
        plain = written(sleeper.pid)
        for content in mutations(plain):
            path.write_bytes(content)
            quarantine_unreadable_records(tmp_path)
            for _, found in read_records(tmp_path):
                readable += 1
                process = ExecSpawn().adopt(found)
                assert process is None or process.pid == sleeper.pid
        sleeper.kill()
    assert readable > 10, "some are valid, and say other things"


# ---- the pid file ----


def pid_file() -> bytes:
    me = os.getpid()
    started = procfs.start_time(me) or 0
    return msgspec.json.encode(
        PidFile(pid=me, start_time=started, boot_id=procfs.boot_id(), api="boot", instance="f")
    )


@odd
def test_an_odd_pid_file_is_nobody_and_is_quarantined_at_the_next_start(
    tmp_path: Path, spoil: Spoil
) -> None:
    path = tmp_path / "waguard.pid"
    spoil(path, pid_file())
    assert read_pid_file(tmp_path) is None
    lock = acquire(tmp_path)
    lock.publish("http://127.0.0.1:3001")
    assert lock.found_unreadable
    assert os.path.lexists(tmp_path / "waguard.pid.unreadable")
    found = read_pid_file(tmp_path)
    assert found
    assert found.instance == lock.instance
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
    spoil(tmp_path / PAIRING, b'{"token": "boot", "at": 1}')
    spoil_is_readable = owner_mark.pairing(tmp_path)
    assert spoil_is_readable is None
    assert owner_mark.paired_at(tmp_path) is None


@pytest.mark.parametrize("at", ["1e999", "null", '"x"', "[]", "NaN"])
def test_an_odd_time_of_pairing_is_no_obstacle(tmp_path: Path, at: str) -> None:
    (tmp_path / PAIRING).write_text(f'{{"token": "t", "at": {at}}}')
    assert owner_mark.pairing(tmp_path) == "t"
    assert not owner_mark.paired_at(tmp_path) or at in {"1e999", "NaN"}


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
    spoil(folder / snapshot_archive.MANIFEST, MANIFEST)
    with pytest.raises(SnapshotDamagedError):
        snapshot_archive.read_manifest(folder)
    assert not any(snapshot.intact for snapshot in snapshots.known(tmp_path))


def test_no_mutation_of_a_manifest_is_more_than_damage(tmp_path: Path) -> None:
    for content in (*mutations(MANIFEST), MANIFEST.replace(b'"size": 1', b'"size": 1e999')):
        (tmp_path / snapshot_archive.MANIFEST).write_bytes(content)
        with contextlib.suppress(SnapshotDamagedError):
            assert snapshot_archive.read_manifest(tmp_path).id == tmp_path.name


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


@odd
def test_so_does_a_media_note_that_is_no_file_of_ours(tmp_path: Path, spoil: Spoil) -> None:
    folder = MediaFolder(tmp_path)
    name = folder.keep(b"content", "image/png")
    [note] = tmp_path.glob("??/*.json")
    content = note.read_bytes()
    note.unlink()
    spoil(note, content)
    assert folder.find(name)


# ---- the version of Chromium ----


@odd
async def test_an_odd_note_of_a_version_is_asked_for_again(
    tmp_path: Path, spoil: Spoil, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asked(*_: object) -> str:
        return "140.0.1.2"

    monkeypatch.setattr(browser_version, "version_of", asked)
    program = Path("/bin/true")
    assert await known_version(program, tmp_path, 5.0) == "140.0.1.2"
    [note] = tmp_path.iterdir()
    note.unlink()
    spoil(note, b"boot")
    assert await known_version(program, tmp_path, 5.0) == "140.0.1.2"


# ---- what a person names: keys, secrets, the configuration; and the lock ----


def _config(path: Path) -> object:
    return load(path, {})


READERS: dict[str, tuple[Callable[[Path], object], bytes]] = {
    "keys": (load_or_create_keys, b"a-key-of-those-that-boot-and-are-long-enough\n"),
    "secrets": (read_secrets, b"a-secret-to-boot\n"),
    "configuration": (_config, b"[api]\nhost = '127.0.0.1' # boot\n"),
}


@pytest.mark.timeout(30)
@odd
@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_what_a_person_names_is_used_or_refused_in_words(
    tmp_path: Path, spoil: Spoil, reader: tuple[Callable[[Path], object], bytes]
) -> None:
    read, content = reader
    path = tmp_path / "given"
    with _writer_of(path) if read is _config else contextlib.nullcontext():
        spoil(path, content)
        if path.is_file():
            path.chmod(0o600)
        try:
            read(path)
        except ConfigError as error:
            assert str(path) in error.line()  # noqa: PT017 - it need not be raised


@contextlib.contextmanager
def _writer_of(path: Path) -> Iterator[None]:
    """A pipe is a configuration as good as another, when somebody writes into it."""

    def write() -> None:
        while not over.wait(0.01):
            with contextlib.suppress(OSError):
                if stat.S_ISFIFO(path.stat().st_mode):
                    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))

    over = threading.Event()
    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()


@pytest.mark.parametrize("read", [load_or_create_keys, read_secrets, _config])
def test_no_mutation_of_what_a_person_names_is_more_than_a_refusal(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    [content] = [good for reader, good in READERS.values() if reader is read]
    path = tmp_path / "given"
    path.touch(0o600)
    for odd_content in mutations(content):
        path.write_bytes(odd_content)
        with contextlib.suppress(ConfigError):
            read(path)


@odd
def test_an_odd_lock_is_a_lock_or_refused_in_words(tmp_path: Path, spoil: Spoil) -> None:
    spoil(tmp_path / LOCK_FILE, b"boot")
    try:
        lock = acquire(tmp_path)
    except ConfigError as error:
        assert str(tmp_path) in error.line()  # noqa: PT017 - it need not be raised
    else:
        lock.release()
