"""An installation saved and restored: what is back, what waits, what is lost, and what is refused."""

import errno
import fcntl
import io
import shutil
import threading
import time
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from typing import BinaryIO, Final

import pytest

from tests.backup.installation import (
    API_KEY,
    DELIVERY,
    KEY,
    MARKER,
    OUTBOX,
    PAIRED,
    UNPAIRED,
    Installation,
    message,
    webhook,
)
from tests.profile.leveldb_files import word_of
from waguard.backup import archive, restoring, rows, saving
from waguard.backup.archive import BackupDamagedError
from waguard.backup.rows import DatabaseUnreadableError
from waguard.core import backup_contents as policy
from waguard.core.backup_contents import LastBackup
from waguard.core.proxy import parse
from waguard.core.restored import WHY
from waguard.errors import ConfigError, ConflictError, InstanceHeldError, NoRoomError, WaguardError
from waguard.host.files.lock import acquire
from waguard.host.memory import installation_file, last_backup, proxies, restored_file
from waguard.profile import layout, owner_mark, snapshots
from waguard.profile.lock import ProfileLock

PROXY: Final = parse("socks5://proxy.example:1080", "me", "hunter2", mark="m")


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_all_of_it_comes_back(
    old: Installation, new: Installation, tmp_path: Path, key: bytes | None
) -> None:
    proxies.write(old.config.paths.state, "alpha", PROXY)
    proxies.write(new.config.paths.state, "beta", PROXY)
    file, saved = old.save(tmp_path / "backups", key)
    assert (b"hunter2" in file.read_bytes()) is (key is None)
    assert file.stat().st_mode & 0o777 == 0o600
    assert [it.session for it in saved.sessions if it.snapshot] == [*PAIRED]
    tokens = [owner_mark.pairing(layout.path(old.config.paths.sessions, 7, it)) for it in PAIRED]
    shutil.rmtree(old.folder)
    result = new.restore(file, key)
    for name, token in zip(PAIRED, tokens, strict=True):
        at = layout.places(new.config.paths.sessions, 7, name)
        assert word_of(at.profile) == name
        assert owner_mark.pairing(at.profile) == token
        assert [it.intact for it in snapshots.verified(at.snapshots)] == [True]
    assert (new.folder / "state/api-key").read_text() == API_KEY
    assert proxies.read(new.config.paths.state, "alpha") == PROXY
    assert proxies.read(new.config.paths.state, "beta") is None, "it had none"
    assert installation_file.read(new.config.paths.sessions) == MARKER
    assert rows.count(new.database) == 0
    noted = restored_file.read(new.config.paths.state)
    assert noted
    assert (noted.groups, noted.backup_at, noted.database) == (
        PAIRED,
        saved.made_at,
        True,
    )
    assert result.configuration
    assert "DEBUG" in (Path(result.configuration) / "waguard.toml").read_text()
    assert any(UNPAIRED in line and "scan" in line for line in result.lost)
    modes = {path.stat().st_mode & 0o077 for path in new.folder.rglob("*")}
    assert modes == {0}
    assert not list(new.folder.rglob(".restore*")) + list(tmp_path.rglob(".backup*"))


def test_the_destinations_of_alerts_lie_beside_the_configuration(tmp_path: Path) -> None:
    old = Installation(tmp_path / "old", alerts={"destination_file": "destinations"})
    for path in (old.folder / "destinations", old.file):
        path.write_text("ntfy https://ntfy.example/secret\n")
        path.chmod(0o600)
    sqlite = connect(old.database)
    sqlite.close()
    file, _ = old.save(tmp_path / "backups")
    shown = Installation(tmp_path / "new").restore(file).configuration
    assert shown
    assert "secret" in (Path(shown) / "alert-destinations").read_text()


def test_one_moment_of_a_database_that_is_written(
    old: Installation, new: Installation, tmp_path: Path
) -> None:
    """Each transaction has two rows: half of one would show."""
    ended, begun = threading.Event(), threading.Event()

    def write() -> None:
        with closing(connect(old.database, timeout=30)) as connection:
            connection.execute("PRAGMA journal_mode=wal")
            number = 0
            while not ended.is_set():
                with connection:
                    pair = [message(number, "sent"), message(number + 1, "sent")]
                    connection.executemany(OUTBOX, pair)
                number += 2
                begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert begun.wait(30)
        file, _ = old.save(tmp_path / "backups")
    finally:
        ended.set()
        writer.join()
    new.restore(file)
    [(count,)] = new.run("SELECT count(*) FROM waguard_outbox")
    [(whole,)] = old.run("SELECT count(*) FROM waguard_outbox")
    assert count % 2 == 0
    assert 0 < count <= whole


def test_nothing_is_sent_or_delivered_again_by_itself(
    old: Installation, new: Installation, tmp_path: Path
) -> None:
    states = ("accepted", "sending", "uncertain", "sent", "failed")
    old.run(OUTBOX, *(message(number, state) for number, state in enumerate(states)))
    events = ("message_received", "message_sent", "message_read", "call_received", "session_ready")
    old.run(DELIVERY, *(webhook(number, it) for number, it in enumerate(events)))
    waiting = webhook(9, "message_received", "alpha", "dead", "unidentified", chat="1@lid")
    old.run(DELIVERY, waiting, webhook(8, "message_received", "alpha", "dead", "refused"))
    file, _ = old.save(tmp_path / "backups")
    result = new.restore(file)
    found = [state for (state,) in new.run("SELECT state FROM waguard_outbox ORDER BY id")]
    assert found == ["uncertain", "uncertain", "uncertain", "sent", "failed"]
    assert new.run("SELECT count(*) FROM waguard_outbox WHERE content IS NULL") == [(2,)]
    left = "SELECT event, state, cause FROM waguard_deliveries ORDER BY id"
    assert new.run(left) == [
        ("message_received", "dead", "restored"),
        ("message_sent", "pending", None),
        ("message_read", "pending", None),
        ("call_received", "dead", "restored"),
        ("session_ready", "pending", None),
        ("message_received", "dead", "restored"),
        ("message_received", "dead", "refused"),
    ]
    assert (result.counts.uncertain, result.counts.held) == (2, 3)
    said = " ".join(result.lost)
    assert "2 messages were unfinished" in said
    assert "3 webhooks" in said
    marked = "SELECT id FROM waguard_deliveries WHERE json_extract(CAST(body AS TEXT), '$.data.restored') = 1"
    assert new.run(marked) == [(1,), (4,), (6,)]
    [(error,)] = new.run("SELECT last_error FROM waguard_deliveries WHERE id = 1")
    assert error == WHY


def test_with_a_table_messages_wait_in_their_place(old: Installation, tmp_path: Path) -> None:
    new = Installation(tmp_path / "new", webhook={"stored": "chats.whatsapp_message_id"})
    old.run(DELIVERY, webhook(1, "message_received"), webhook(2, "message_received", "alpha"))
    file, _ = old.save(tmp_path / "backups")
    new.restore(file)
    found = new.run("SELECT state, cause FROM waguard_deliveries ORDER BY id")
    assert found == [("pending", "restored"), ("dead", "restored")]


def test_a_server_keeps_its_database(old: Installation, tmp_path: Path) -> None:
    url = "postgresql+asyncpg://app:secret@db.example:5433/shop"
    old.config = Installation(tmp_path / "server", database={"url": url}).config
    new = Installation(tmp_path / "new", database={"url": url})
    shutil.copytree(old.folder / "sessions", tmp_path / "server/sessions", dirs_exist_ok=True)
    file, saved = old.save(tmp_path / "backups")
    assert not saved.has_database
    assert "secret" not in saved.database
    [line] = saving.statements(old.config)
    assert (
        line
        == "pg_dump --format=custom --host=db.example --port=5433 --username=app shop > shop.dump"
    )
    new.restore(file)
    noted = restored_file.read(new.config.paths.state)
    assert noted
    assert not noted.database
    assert noted.groups == PAIRED
    maria = Installation(tmp_path / "m", database={"url": "mysql+asyncmy://app:secret@db/shop"})
    [line] = saving.statements(maria.config)
    assert line.startswith("mariadb-dump --single-transaction")
    assert "secret" not in line


@pytest.mark.parametrize("stored", [None, "messages.wa_id"], ids=["no table", "a table"])
def test_on_a_dump_of_a_server_the_same_is_done_by_statements(
    old: Installation, tmp_path: Path, stored: str | None
) -> None:
    """SQLite stands in for the server: nothing in them is of one database."""
    states = ("accepted", "sending", "sent")
    old.run(OUTBOX, *(message(number, state) for number, state in enumerate(states)))
    events = ("message_received", "message_sent", "call_received", "session_ready")
    waiting = webhook(9, "message_received", "alpha", "dead", "unidentified", chat="1@lid")
    own = webhook(8, "message_received", "alpha")
    old.run(DELIVERY, *(webhook(number, it) for number, it in enumerate(events)), waiting, own)
    old.run("UPDATE waguard_outbox SET updated_at = 1")
    old.run("UPDATE waguard_deliveries SET died_at = 1 WHERE state = 'dead'")
    old.run("INSERT INTO waguard_lease VALUES (1, 1, 'm', '/run', 'h', 1, 'i', 1, 1, 1, 1, 0)")
    file, _ = old.save(tmp_path / "backups")
    before = time.time()
    webhooks = {"webhook": {"stored": stored}}
    made = Installation(tmp_path / "made", **webhooks)
    made.restore(file)
    url = "postgresql+asyncpg://app:secret@db.example/shop"
    old.config = Installation(tmp_path / "saved", database={"url": url}).config
    file, _ = old.save(tmp_path / "servers")
    server = Installation(tmp_path / "server", database={"url": url}, **webhooks)
    result = server.restore(file, from_dump=True)
    noted = restored_file.read(server.config.paths.state)
    assert noted
    assert noted.database
    shutil.copyfile(old.database, server.database)
    for line in result.statements:
        server.run(line)
    for table, columns, at in (
        ("waguard_outbox", "state, error, content", "updated_at"),
        ("waguard_deliveries", "state, cause, last_error", "died_at"),
    ):
        found = f"SELECT {columns}, {at} >= {before} FROM {table} ORDER BY id"
        assert server.run(found) == made.run(found)
    assert server.run("SELECT released FROM waguard_lease") == [(1,)], "a start waits for nobody"


# ---- where there is something already ----


def test_nothing_that_lives_is_restored_over(old: Installation, tmp_path: Path) -> None:
    file, _ = old.save(tmp_path / "backups")
    before = old.files()
    with pytest.raises(ConflictError, match="profiles or snapshots: alpha, beta"):
        old.restore(file)
    assert _without_locks(old.files()) == _without_locks(before)


def test_a_database_with_sessions_is_refused_and_an_empty_one_moved(
    old: Installation, new: Installation, tmp_path: Path
) -> None:
    file, _ = old.save(tmp_path / "backups")
    shutil.copyfile(old.database, new.database)
    new.run(
        "INSERT INTO waguard_sessions (session_id, workspace_id, desired, generation, priority, created_at, updated_at)"
        " VALUES (?, 7, 'up', 1, 0, '2026-01-01', '2026-01-01')",
        ("other",),
    )
    with pytest.raises(ConflictError, match="has 1 sessions"):
        new.restore(file)
    new.run("DELETE FROM waguard_sessions")
    (new.folder / "state/api-key").write_text("the key of a first start")
    result = new.restore(file)
    moved = {Path(path).name.partition(".before-restore-")[0] for path in result.moved}
    assert moved - {"waguard.db-wal", "waguard.db-shm"} == {"api-key", "waguard.db"}
    assert all(Path(path).exists() for path in result.moved)


def test_what_cannot_be_read_is_not_empty(
    old: Installation, new: Installation, tmp_path: Path
) -> None:
    file, _ = old.save(tmp_path / "backups")
    new.database.write_bytes(b"no database" * 1_000)
    with pytest.raises(ConflictError, match="cannot be read"):
        new.restore(file)
    assert new.database.read_bytes() == b"no database" * 1_000


def test_a_living_daemon_is_left_alone(
    old: Installation, new: Installation, tmp_path: Path
) -> None:
    file, _ = old.save(tmp_path / "backups")
    lock = acquire(new.config.paths.runtime)
    try:
        with pytest.raises(InstanceHeldError):
            new.restore(file)
    finally:
        lock.release()
    assert not new.database.exists()


def test_another_kind_of_database_is_refused(
    old: Installation, new: Installation, tmp_path: Path
) -> None:
    file, _ = old.save(tmp_path / "backups")
    server = Installation(tmp_path / "s", database={"url": "postgresql+asyncpg://db/shop"})
    with pytest.raises(ConflictError, match="has an SQLite database"):
        server.restore(file)
    newer = policy.refusals(
        policy.Manifest(
            waguard="9",
            made_at=0.0,
            installation="",
            database="x",
            revision="9999",
            sessions=(),
            members=(policy.Member(policy.DATABASE, 1, ""),),
        ),
        policy.Place(sqlite=True, database="x", revision="0009"),
    )
    assert newer == [
        "its database has revision 9999, and this waguard knows 0009: install waguard 9"
    ]


def test_a_damaged_one_changes_nothing(
    old: Installation, new: Installation, tmp_path: Path
) -> None:
    file, _ = old.save(tmp_path / "backups")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BackupDamagedError):
        new.restore(file)
    assert [name for name in new.files() if not name.startswith("run/")] == []


def test_a_disk_without_room_is_refused_before(
    old: Installation, new: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, _ = old.save(tmp_path / "backups")
    monkeypatch.setattr("waguard.backup.room.disk.free", lambda _: 1 << 20)
    with pytest.raises(NoRoomError, match="only 1 MB are free"):
        new.restore(file)
    assert [name for name in new.files() if not name.startswith("run/")] == []


def test_the_disks_of_profiles_and_database_need_room_too(
    old: Installation, new: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, _ = old.save(tmp_path / "backups")
    free = iter([1 << 40, 1 << 20])  # for what is unpacked, and then for what is made of it
    monkeypatch.setattr("waguard.backup.room.disk.free", lambda _: next(free))
    with pytest.raises(NoRoomError, match="only 1 MB are free"):
        new.restore(file)
    assert [name for name in new.files() if not name.startswith("run/")] == []


@pytest.mark.parametrize("at", ["credentials.tar.gz", "waguard.db.new"])
def test_a_disk_that_is_full_in_the_middle_leaves_it_as_it_was(
    old: Installation, new: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    file, _ = old.save(tmp_path / "backups")
    key = new.folder / "state/api-key"
    key.write_text("the key of a first start")
    copy = restoring._copy

    def full(source: BinaryIO, target: Path) -> None:
        if target.name == at and (at.endswith("new") or "beta" in str(target)):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        copy(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(restoring, "_copy", full)
        with pytest.raises(OSError, match="No space"):
            new.restore(file)
    assert [it for it in new.files() if not it.startswith("run/")] == ["state/api-key"]
    assert key.read_text() == "the key of a first start"
    assert len(new.restore(file).lost) > 1


def test_a_snapshot_that_is_unusable_is_named(
    old: Installation, new: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, _ = old.save(tmp_path / "backups")

    def broken(*_: object) -> None:
        raise WaguardError("the credentials are damaged")

    monkeypatch.setattr("waguard.backup.restoring.repair.carry_out", broken)
    lost = new.restore(file).lost
    assert [line for line in lost if "alpha" in line and "credentials are damaged" in line]


# ---- making one ----


def test_a_running_session_is_copied_and_one_just_paired_has_its_last_snapshot(
    old: Installation, tmp_path: Path
) -> None:
    at = layout.places(old.config.paths.sessions, 7, "alpha")
    first = snapshots.create(
        at.profile,
        at.snapshots,
        pairing=owner_mark.pairing(at.profile) or "",
        running=False,
        now=time.time(),
    )
    with ProfileLock(at.profile):  # its worker lives, and it was paired less than a minute ago
        _, saved = old.save(tmp_path / "backups")
    assert saved.sessions[0].snapshot == first.id


def test_the_snapshots_of_a_worker_stay(old: Installation, tmp_path: Path) -> None:
    """A paired session that connects no more keeps its last good ones, however many backups are made."""
    at = layout.places(old.config.paths.sessions, 7, "alpha")
    token = owner_mark.pairing(at.profile) or ""
    both = [
        snapshots.create(at.profile, at.snapshots, pairing=token, running=False, now=now).id
        for now in (1e9, 2e9)
    ]
    (at.snapshots / ".new-of-a-worker").mkdir()
    _, saved = old.save(tmp_path / "backups")
    assert saved.sessions[0].snapshot == both[1]
    assert [it.id for it in snapshots.known(at.snapshots)] == both
    assert (at.snapshots / ".new-of-a-worker").exists()


def test_one_that_was_logged_out_is_named_and_not_saved(old: Installation, tmp_path: Path) -> None:
    at = layout.places(old.config.paths.sessions, 7, "alpha")
    old.save(tmp_path / "before")
    with ProfileLock(at.profile) as lock:
        owner_mark.disown(at.profile, lock.descriptor)
    _, saved = old.save(tmp_path / "backups")
    why = str(saved.sessions[0].why)
    assert (saved.sessions[0].snapshot, why.partition(":")[0]) == (None, "alpha is not paired")
    last = last_backup.read(old.config.paths.state)
    assert last
    assert last.missing == ("alpha", UNPAIRED)


def test_the_snapshots_of_a_lost_profile_are_saved(old: Installation, tmp_path: Path) -> None:
    old.save(tmp_path / "before")
    shutil.rmtree(layout.path(old.config.paths.sessions, 7, "alpha"))
    _, saved = old.save(tmp_path / "backups")
    assert saved.sessions[0].snapshot


def test_only_the_newest_are_kept_and_nothing_else_is_touched(
    old: Installation, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    ours = f"waguard-{MARKER.installation}-"
    others = {"waguard-ffffffff-20200101T000000Z.tar", "mine.tar"}
    future = f"{ours}29990101T000000Z.tar"
    for name in others | {
        f"{ours}20200101T000000Z.tar",
        f"{ours}20210101T000000Z.tar.encrypted",
        future,
    }:
        (folder / name).write_text("x")
    note = LastBackup(at=0.0, where=f"{ours}20210101T000000Z.tar.encrypted")
    last_backup.write(old.config.paths.state, note)
    path, _ = old.save(folder, keep=2)
    before = f"{ours}20210101T000000Z.tar.encrypted"
    assert {it.name for it in folder.iterdir()} == others | {path.name, before, future}
    assert path.name.startswith(ours)
    path.rename(folder / f"{ours}20220101T000000Z.tar")
    path, _ = old.save(folder, keep=1)
    assert {it.name for it in folder.iterdir()} == others | {path.name, future}


def test_a_clock_that_was_ahead_or_behind_takes_no_archive_from_the_newest(
    old: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, day = tmp_path / "backups", 86_400.0
    made = dict[float, Path]()
    for at in (20_000, 30_000, 20_001, 20_002, 20_003, 15_000, 15_001, 15_002):
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda now=at * day: now)
            made[at], _ = old.save(folder, keep=2)
        assert made[at].exists()
    assert {at for at, path in made.items() if path.exists()} == {
        20_002,
        20_003,
        30_000,
        15_001,
        15_002,
    }


def test_a_draft_of_a_run_that_was_killed_is_removed(old: Installation, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    ours = f".waguard-{MARKER.installation}-"
    left, living = (folder / f"{ours}2020010{day}T000000Z.tar.new" for day in (1, 2))
    others = folder / ".waguard-ffffffff-20200101T000000Z.tar.new"
    for draft in (left, living, others):
        draft.write_text("an archive without encryption")
    with living.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        path, _ = old.save(folder)
    assert set(folder.iterdir()) == {path, living, others}


def test_a_disk_that_would_be_full_is_left_alone(
    old: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is copied, and what must stay free beside it."""
    size = old.database.stat().st_size
    reserve = old.config.limits.disk_reserve << 20
    monkeypatch.setattr("waguard.backup.room.disk.free", lambda _: reserve + size + size // 2)
    with pytest.raises(NoRoomError, match="are needed"):
        old.save(tmp_path / "backups")
    with pytest.raises(NoRoomError, match="are needed"):
        saving.into_stream(old.source(), io.BytesIO())
    assert list((tmp_path / "backups").iterdir()) == []


def test_a_stream_is_the_same_archive(old: Installation) -> None:
    stream = io.BytesIO()
    saved = saving.into_stream(old.source(KEY), stream)
    stream.seek(0)
    assert archive.read(stream, KEY) == saved
    assert not list(old.config.paths.state.glob("tmp*"))


def test_what_is_read_back_must_be_what_was_written(
    old: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(*_: object, **__: object) -> None:
        raise BackupDamagedError("a bad disk")

    monkeypatch.setattr("waguard.backup.saving.archive.read", other)
    with pytest.raises(BackupDamagedError):
        old.save(tmp_path / "backups")
    assert list((tmp_path / "backups").iterdir()) == []
    assert last_backup.read(old.config.paths.state) is None


def test_a_damaged_database_is_no_backup(old: Installation, tmp_path: Path) -> None:
    content = bytearray(old.database.read_bytes())
    content[4_096:60_000] = bytes(60_000 - 4_096)
    old.database.write_bytes(content)
    with pytest.raises(DatabaseUnreadableError, match="cannot be used"):
        old.save(tmp_path / "backups")
    assert list((tmp_path / "backups").iterdir()) == []
    assert not (old.config.paths.state / ".backup").exists()


def test_two_at_a_time_are_one_too_many(old: Installation, tmp_path: Path) -> None:
    with saving._staging(old.config.paths.state), pytest.raises(ConflictError, match="another"):
        old.save(tmp_path / "backups")


def test_a_file_that_cannot_be_saved_is_named(old: Installation, tmp_path: Path) -> None:
    keys = old.config.paths.state / "keys.json"
    keys.unlink()
    keys.symlink_to("/etc/hostname")
    with pytest.raises(ConfigError, match=r"keys\.json cannot be saved"):
        old.save(tmp_path / "backups")


def _without_locks(files: dict[str, bytes]) -> dict[str, bytes]:
    return {
        name: content
        for name, content in files.items()
        if not name.endswith(".lock") and "waguard.db-" not in name
    }
