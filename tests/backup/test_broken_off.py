"""A restore that is killed: what it left is undone by the next one."""

import contextlib
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

import pytest

from tests.backup.installation import API_KEY, PAIRED, Installation
from tests.cli.program import main
from tests.profile.leveldb_files import word_of
from tests.profile.old_profile_files import old_profile
from waguard.backup import restoring
from waguard.backup.archive import BackupDamagedError
from waguard.core import backup_contents as policy
from waguard.errors import ConflictError
from waguard.host.memory import restore_journal
from waguard.host.memory.restore_journal import Journal
from waguard.profile import layout

OWN: Final = "the key of a first start"
DAEMON: Final = 64_001


def killed(run: Callable[[], object]) -> None:
    """In a process of its own, which ends somewhere in the middle."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            run()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 9


def dies_at(patched: pytest.MonkeyPatch, name: str) -> None:
    """Power fails when this file of the backup is to be put in its place."""
    put = restoring._Restore._put

    def dying(self: Any, of: str, place: Path) -> None:
        if of == name:
            os._exit(9)
        put(self, of, place)

    patched.setattr(restoring._Restore, "_put", dying)


def dies_at_undo(patched: pytest.MonkeyPatch, of: str) -> None:
    """Power fails while a restore that failed puts things back."""
    rename = Path.rename

    def full(*_: object) -> None:
        raise OSError("no space left")

    def dying(self: Path, target: Path) -> Path:
        renamed = rename(self, target)
        if self.name.startswith(f"{of}.before-restore-"):
            os._exit(9)
        return renamed

    patched.setattr(restoring._Restore, "_keep_configuration", full)
    patched.setattr(Path, "rename", dying)


POINTS: Final[dict[str, Callable[[pytest.MonkeyPatch], None]]] = {
    "after the key": lambda patched: dies_at(patched, policy.VERSIONS),
    "after the credentials": lambda patched: dies_at(patched, policy.MARKER),
    "after the database": lambda patched: dies_at(patched, policy.CONFIGURATION),
    "while it is undone": lambda patched: dies_at_undo(patched, "api-key"),
}


@pytest.mark.parametrize("point", POINTS)
def test_a_restore_that_was_killed_can_be_repeated(
    old: Installation,
    new: Installation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
) -> None:
    file, _ = old.save(tmp_path / "backups")
    key = new.folder / "state/api-key"
    key.write_text(OWN)
    with monkeypatch.context() as patched:
        POINTS[point](patched)
        killed(lambda: new.restore(file))
    result = new.restore(file)
    assert [it.session for it in result.manifest.sessions if it.snapshot] == [*PAIRED]
    assert word_of(layout.path(new.config.paths.sessions, 7, "alpha")) == "alpha"
    assert key.read_text() == API_KEY
    assert [Path(it).read_text() for it in result.moved if "api-key" in it] == [OWN]
    assert len(list(key.parent.glob("api-key.*"))) == 1
    assert not (new.folder / "state/.restore").exists()


NEWER: Final = "Default/newer-credentials"
PROFILES: Final = ("workspace_7", "snapshots/workspace_7")


def used_since_then(old: Installation, new: Installation, patched: pytest.MonkeyPatch) -> Path:
    """A backup whose restore was killed behind the credentials, which have gone on since then."""
    file, _ = old.save(new.folder.parent / "backups")
    with patched.context() as context:
        dies_at(context, policy.MARKER)
        killed(lambda: new.restore(file))
    (layout.path(new.config.paths.sessions, 7, "alpha") / NEWER).touch()
    return file


def test_what_a_daemon_has_used_since_then_stays(
    old: Installation, new: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = used_since_then(old, new, monkeypatch)
    restore_journal.forget(new.config.paths.state)
    with pytest.raises(ConflictError, match="profiles or snapshots: alpha, beta"):
        new.restore(file)
    assert word_of(layout.path(new.config.paths.sessions, 7, "alpha")) == "alpha"


@pytest.mark.parametrize(
    "command",
    [
        ("import", "--from", "service"),
        ("profile", "restore", "beta"),
        ("profile", "quarantine", "beta"),
    ],
)
def test_what_a_person_put_there_since_then_stays(
    old: Installation,
    new: Installation,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
) -> None:
    file = used_since_then(old, new, monkeypatch)
    new.file.write_text('[paths]\nstate = "state"\nsessions = "sessions"\nruntime = "run"\n')
    monkeypatch.chdir(new.folder)
    old_profile(new.folder / "service/7/gamma/session-gamma")
    assert main([*command, "--config", str(new.file)]) == 0
    with pytest.raises(ConflictError, match="profiles or snapshots: alpha"):
        new.restore(file)
    assert (layout.path(new.config.paths.sessions, 7, "alpha") / NEWER).exists()


def test_an_archive_that_cannot_be_read_undoes_nothing(
    old: Installation, new: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = used_since_then(old, new, monkeypatch)
    before = new.files()
    none = new.folder.parent / "none"
    none.write_text("no archive")
    with pytest.raises(BackupDamagedError):
        new.restore(none)
    assert {name: it for name, it in new.files().items() if not name.startswith("run/")} == {
        name: it for name, it in before.items() if "/unpacked/" not in name and "run/" not in name
    }
    assert new.restore(file).moved


def test_credentials_are_renamed_not_removed(
    old: Installation, new: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = used_since_then(old, new, monkeypatch)
    renamed = [str(new.config.paths.sessions / it / "broken-off-*") for it in PROFILES]
    result = new.restore(file)
    found = [Path(it).parent.glob(Path(it).name) for it in renamed]
    profiles, copies = [sorted(it) for it in found]
    assert [it.name.rpartition(".")[2] for it in profiles] == ["session-alpha", "session-beta"]
    assert (profiles[0] / NEWER).exists()
    assert len(copies) == len(profiles)
    assert all(fnmatch(*it) for it in zip(result.moved, sorted(renamed), strict=True))
    assert word_of(layout.path(new.config.paths.sessions, 7, "alpha")) == "alpha"


def test_a_refusal_says_where_they_lie(
    old: Installation, new: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = used_since_then(old, new, monkeypatch)
    (new.config.paths.sessions / "quarantine/copy").mkdir(parents=True)
    with pytest.raises(ConflictError, match="quarantine") as refused:
        new.restore(file)
    assert f"{new.config.paths.sessions}/workspace_7/broken-off-" in str(refused.value.remedy)


def test_what_was_restored_as_a_whole_stays(
    old: Installation, new: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what it had unpacked was not removed any more."""
    file, _ = old.save(tmp_path / "backups")
    with monkeypatch.context() as patched:
        patched.setattr(restoring._Restore, "run", dying_at_its_end(restoring._Restore.run))
        killed(lambda: new.restore(file))
    with pytest.raises(ConflictError, match="profiles or snapshots: alpha, beta"):
        new.restore(file)
    assert word_of(layout.path(new.config.paths.sessions, 7, "alpha")) == "alpha"


def dying_at_its_end(run: Callable[..., object]) -> Callable[..., None]:
    def dying(*given: object) -> None:
        run(*given)
        os._exit(9)

    return dying


@pytest.mark.parametrize("content", [b"", b"half", b"{}\n[1]\n", b'{"run":1}\n'])
def test_a_journal_that_says_nothing_undoes_nothing(
    old: Installation, new: Installation, tmp_path: Path, content: bytes
) -> None:
    file, _ = old.save(tmp_path / "backups")
    left = new.folder / "state/.restore"
    left.mkdir(mode=0o700)
    (left / "journal").write_bytes(content)
    assert len(new.restore(file).lost) > 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to act for other users")
def test_a_journal_of_the_daemons_user_removes_nothing_of_roots(
    old: Installation, short_path: Path
) -> None:
    short_path.chmod(0o755)
    new = Installation(short_path / "new")
    roots = short_path / "roots"
    roots.write_text("root's")
    state = new.config.paths.state
    (state / ".restore").mkdir()
    with contextlib.closing(Journal.begun(state)) as steps:
        steps.made(roots)
        steps.moved(short_path / "other", roots)
    for path in (new.folder, *new.folder.rglob("*")):
        os.chown(path, DAEMON, DAEMON)
    file, _ = old.save(short_path)
    assert len(new.restore(file).lost) > 1
    assert roots.read_text() == "root's"


@pytest.fixture
def journal_is_full(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """From the marker on the disk has no room for another step."""
    put, before = restoring._Restore._put, resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def full(self: Any, of: str, place: Path) -> None:
        if of == policy.MARKER:
            size = os.fstat(self._journal._file.fileno()).st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        put(self, of, place)

    monkeypatch.setattr(restoring._Restore, "_put", full)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("journal_is_full")
def test_a_journal_without_room_keeps_nothing_from_being_undone(
    old: Installation, new: Installation, tmp_path: Path
) -> None:
    file, _ = old.save(tmp_path / "backups")
    (new.folder / "state/api-key").write_text(OWN)
    before = new.files()
    with pytest.raises(OSError, match="too large"):
        new.restore(file)
    assert {name: it for name, it in new.files().items() if not name.startswith("run/")} == before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("no such device")])
def test_what_was_not_undone_is_left_to_the_next_restore(
    old: Installation,
    new: Installation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    file, _ = old.save(tmp_path / "backups")
    key = new.folder / "state/api-key"
    key.write_text(OWN)
    rmtree = shutil.rmtree

    def broken(*_: object) -> None:
        raise error

    def stuck(path: Path, **how: Any) -> None:
        if path.name == "session-alpha":
            raise error
        rmtree(path, **how)

    with monkeypatch.context() as patched:
        patched.setattr(restoring._Restore, "_keep_configuration", broken)
        patched.setattr("waguard.host.memory.restore_journal.shutil.rmtree", stuck)
        with pytest.raises(type(error)):
            new.restore(file)
    assert not (new.folder / "state/.restore/unpacked").exists()
    moved = new.restore(file).moved
    assert [Path(it).read_text() for it in moved if "api-key" in it] == [OWN]
    assert key.read_text() == API_KEY
    assert not (new.folder / "state/.restore").exists()


def test_a_journal_with_a_damaged_step_refuses_the_next_restore(
    old: Installation, new: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows what that step made: half of a restore would stay, and be used."""
    file, _ = old.save(tmp_path / "backups")
    (new.folder / "state/api-key").write_text(OWN)
    with monkeypatch.context() as patched:
        dies_at(patched, policy.MARKER)
        killed(lambda: new.restore(file))
    journal = new.folder / "state/.restore/journal"
    first, second, *rest = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(first + b"\0" * (len(second) - 1) + b"\n" + b"".join(rest))
    shutil.rmtree(journal.with_name("unpacked"))
    before = new.files()
    with pytest.raises(
        ConflictError, match="journal of a restore that was killed is damaged"
    ) as no:
        new.restore(file)
    assert str(journal) in no.value.line()
    assert new.files() == before
    journal.write_bytes(first + second + b"".join(rest) + rest[-1][:9])  # half a step was not made
    assert [it for it in new.restore(file).moved if "api-key" in it]


def test_what_has_come_back_with_its_folder_is_not_removed_at_a_second_undo(tmp_path: Path) -> None:
    state = tmp_path
    (state / restore_journal.STAGING).mkdir(mode=0o700)
    proxies, stuck = state / "proxies", state / "stuck"
    for folder in (proxies, stuck, state / "stuck.before"):
        folder.mkdir()
    (proxies / "alpha.json").write_text(OWN)
    (stuck / "busy").touch()  # nothing is renamed onto it
    with contextlib.closing(Journal.begun(state)) as first:
        first.moved(stuck, state / "stuck.before")
        first.moved(proxies, state / "proxies.before")
        proxies.rename(state / "proxies.before")
        first.made(proxies / "alpha.json")
        proxies.mkdir()
        (proxies / "alpha.json").write_text("the backup's")
        first.undo()
    assert (proxies / "alpha.json").read_text() == OWN
    second = Journal.left(state, time.time())
    assert second, "a step resisted"
    second.undo()
    second.close()
    assert (proxies / "alpha.json").read_text() == OWN
