"""A host where the daemon's folders belong to a user of their own, and commands that others run there."""

import hashlib
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cli.program import main
from tests.profile.leveldb_files import profile
from tests.profile.old_profile_files import old_profile
from waguard.host.configuration_file import VARIABLE
from waguard.profile import layout, owner_mark, snapshots
from waguard.profile.lock import ProfileLock

DAEMON: Final = 64_001
OTHER: Final = 64_002
BUNDLE: Final = b"/*! wppconnect-team/wa-js v3.0.0 */ WPP"
SHA256: Final = hashlib.sha256(BUNDLE).hexdigest()
KEYS: Final = ("a-key-of-more-than-16-characters", "another-key-of-more-than-16")
PAIRED_AT: Final = 1_700_000_000.0

Seen = dict[str, tuple[int, int, int]]
"""Path → owner, group, mode."""


@dataclass(frozen=True)
class Host:
    """``folder`` is root's; ``state``, ``sessions`` and ``run`` in it are the daemon's user's."""

    folder: Path

    @property
    def owned(self) -> tuple[Path, ...]:
        return tuple(self.folder / name for name in ("state", "sessions", "run"))

    def seen(self) -> Seen:
        return {
            str(path.relative_to(self.folder)): (found.st_uid, found.st_gid, found.st_mode)
            for path in sorted(self.folder.rglob("*"))
            if not path.match("asker/*") and (found := path.lstat())
        }

    def run(self, *argv: str, user: int = 0) -> tuple[int, str]:
        """Exit code and output of a command that this user runs."""
        said = self.folder / "asker/said"
        [code] = self._run([argv], said, user)
        return code, said.read_text()

    def run_all(self, commands: Sequence[Sequence[str]], *, user: int) -> list[int]:
        """Exit codes of commands that this user runs one after the other in one process."""
        return self._run(commands, self.folder / "asker/said", user)

    def _run(self, commands: Sequence[Sequence[str]], said: Path, user: int) -> list[int]:
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            codes = [99]
            try:
                os.close(ours)
                _become(user, said, self.folder / "asker")
                os.environ[VARIABLE] = str(self.folder / "waguard.toml")
                codes = [_ended(argv) for argv in commands]
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os.write(theirs, " ".join(map(str, codes)).encode())
                os._exit(0)
        os.close(theirs)
        with os.fdopen(ours) as written:
            codes = [int(code) for code in written.read().split()]
        os.waitpid(child, 0)
        return codes


def _ended(argv: Sequence[str]) -> int:
    try:
        return main(argv)
    except SystemExit as ended:
        return int(ended.code or 0)


def _become(user: int, said: Path, folder: Path) -> None:
    descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.fchown(descriptor, user, user)
    os.environ.clear()
    os.chdir(folder)
    sys.stdout = sys.stderr = os.fdopen(descriptor, "w")
    sys.stdin = open(os.devnull)  # noqa: PTH123, SIM115 - it lasts as long as the process
    if user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


def host(folder: Path) -> Host:
    """One session, paired, with a snapshot; keys, a database; an old service's profile of root's."""
    made = Host(folder)
    for path in (*made.owned, folder / "asker"):
        path.mkdir(mode=0o700)
    (folder / "asker").chmod(0o777)
    at = layout.places(folder / "sessions", 7, "a")
    profile(at.profile)
    with ProfileLock(at.profile) as lock:
        token = owner_mark.claim(at.profile, lock.descriptor, after_pairing=True)
    snapshots.create(at.profile, at.snapshots, pairing=token, running=False, now=PAIRED_AT)
    profile(
        layout.places(folder / "sessions", 7, "restored").profile
    )  # of a backup: without a lock
    _database(folder / "state/waguard.db")
    (folder / "state/api-key").write_text("".join(f"{key}\n" for key in KEYS))
    (folder / "state/keys.json").write_text('{"version":1,"keys":[]}')
    (folder / "state/wajs").mkdir()
    (folder / "bundle.js").write_bytes(BUNDLE)
    old_profile(folder / "service/7/b/session-b")
    (folder / "service").chmod(0o700)
    for path in made.owned:
        give(path, DAEMON)
    return made


def copied(made: Host, folder: Path) -> Host:
    """The same in another folder, which is there."""
    subprocess.run(["/usr/bin/cp", "-a", f"{made.folder}/.", folder], check=True)
    folder.chmod(0o755)
    (folder / "waguard.toml").write_text(_configuration(folder))
    return Host(folder)


def give(path: Path, user: int) -> None:
    """It and all that is in it, for this user alone."""
    for one in (path, *path.rglob("*")):
        os.lchown(one, user, user)
        if not one.is_symlink():
            one.chmod(0o700 if one.is_dir() else 0o600)


def private(found: tuple[int, int, int]) -> bool:
    """Whether only the daemon's user may use it."""
    owner, group, mode = found
    return (owner, group) == (DAEMON, DAEMON) and (
        stat.S_ISLNK(mode) or stat.S_IMODE(mode) & 0o077 == 0
    )


def _configuration(folder: Path) -> str:
    paths = "".join(f'{name} = "{folder / path}"\n' for name, path in _PATHS)
    return (
        f'[paths]\n{paths}[browser]\nexecutable = "/bin/false"\nsandbox = false\n'
        '[whatsapp]\nurl = "http://127.0.0.1:9/"\n[api]\nport = 0\n'
    )


_PATHS: Final = (("state", "state"), ("sessions", "sessions"), ("runtime", "run"))


def _database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=wal")
        connection.execute("CREATE TABLE it (is_one INTEGER)")
    connection.close()
