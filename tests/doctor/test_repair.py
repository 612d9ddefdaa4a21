"""What --fix does, and what it leaves alone."""

import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.doctor.host import Host
from waguard.api.auth import load_or_create_keys
from waguard.doctor.repair import repair
from waguard.doctor.report import MakeFolder, MakeKey, RemoveStale, Repair, SetMode, failed


def fix(one: Repair) -> str:
    [said] = repair([failed("any", "it is broken", "Mend it", repair=one)])
    return said


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_all_that_is_safe_at_once(host: Host) -> None:
    await host.stop()
    (host.runtime / "waguard.pid").write_text("half")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(host.runtime / "waguard.sock"))
    host.sessions.chmod(0o755)
    (host.state / "secret").chmod(0o644)
    (host.state / "api-key").unlink()
    before = await host.wrong()
    done = repair(before)
    assert sorted(done) == sorted(
        [
            f"{host.sessions} has the mode 700",
            f"{host.state / 'secret'} has the mode 600",
            f"{host.state / 'api-key'} was made, with a new key",
            f"{host.runtime}/waguard.pid was removed",
            f"{host.runtime}/waguard.sock was removed",
        ]
    )
    remaining = await host.wrong()
    assert {c.name for c in before} - {c.name for c in remaining} == {"owners", "keys", "socket"}
    assert [(c.result, c.seen) for c in remaining if c.name == "instance"] == [
        ("warning", "no waguard runs")
    ]
    assert repair(remaining) == []
    assert len(load_or_create_keys(host.state / "api-key").values) == 1


async def test_no_file_of_a_profile_is_touched(host: Host) -> None:
    profile = host.at().profile
    (profile / "Default/Local Storage/leveldb/MANIFEST-000001").unlink()
    before = written(host.sessions)
    repair(await host.wrong())
    assert written(host.sessions) == before


def written(folder: Path) -> dict[str, tuple[int, int]]:
    """When each was changed, as the kernel has it."""
    found = ((path, path.lstat()) for path in sorted(folder.rglob("*")))
    return {str(path): (seen.st_mode, seen.st_ctime_ns) for path, seen in found}


def test_missing_folders_are_private(short_path: Path) -> None:
    path = short_path / "var/state"
    uid, gid = os.geteuid(), os.getegid()
    assert fix(MakeFolder(str(path), uid, gid)) == f"{path} was made"
    assert mode(path) == mode(path.parent) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give things away")
def test_what_root_makes_is_the_daemons(short_path: Path) -> None:
    path = short_path / "state/api-key"
    fix(MakeKey(str(path), 12_345, 12_345))
    assert (path.stat().st_uid, path.parent.stat().st_uid) == (12_345, 12_345)
    assert mode(path) == 0o600


def test_no_link_is_followed(short_path: Path) -> None:
    target = short_path / "target"
    target.touch(mode=0o644)
    link = short_path / "link"
    link.symlink_to(target)
    assert "is unchanged" in fix(SetMode(str(link), 0o600))
    os.link(target, short_path / "twice")
    assert "it is not a regular file with one name" in fix(SetMode(str(target), 0o600))
    assert mode(target) == 0o644


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for another user")
@pytest.mark.parametrize(
    "repair",
    [
        lambda state: SetMode(f"{state}/api-key", 0o600),
        lambda state: SetMode(f"{state}/folder", 0o700),
        lambda state: MakeFolder(f"{state}/new", 12_345, 12_345),
        lambda state: MakeKey(f"{state}/new-key", 12_345, 12_345),
        lambda state: RemoveStale(str(state), "waguard.pid"),
    ],
    ids=["a file", "a folder", "a new folder", "a key", "a stale file"],
)
def test_a_link_of_the_daemons_user_leads_root_nowhere(
    short_path: Path, repair: Callable[[Path], Repair]
) -> None:
    """Also where not the last name is the link."""
    short_path.chmod(0o755)
    roots, state = short_path / "roots", short_path / "state"
    (roots / "folder").mkdir(parents=True, mode=0o755)
    (roots / "api-key").touch(mode=0o644)
    (roots / "waguard.pid").touch()
    state.symlink_to(roots)
    os.lchown(state, 12_345, 12_345)
    before = written(short_path)
    assert "is unchanged" in fix(repair(state))
    assert written(short_path) == before
    state.unlink()
    state.symlink_to(roots)  # root's own is followed
    assert "is unchanged" not in fix(repair(state))


def test_a_folder_that_cannot_be_made_is_said(short_path: Path) -> None:
    (short_path / "file").touch()
    said = fix(MakeFolder(str(short_path / "file/state"), 0, 0))
    assert said == f"{short_path}/file/state is unchanged: Not a directory"


async def test_a_living_daemon_keeps_its_files(host: Host) -> None:
    runtime = str(host.runtime)
    said = fix(RemoveStale(runtime, "waguard.pid"))
    assert said == f"{runtime}/waguard.pid is unchanged: a daemon holds the folder"
    (host.runtime / "waguard.lock").unlink()  # then the pid file is what keeps the next one out
    said = fix(RemoveStale(runtime, "waguard.pid"))
    assert said == f"{runtime}/waguard.pid is unchanged: its process lives"
    assert json.loads((host.runtime / "waguard.pid").read_text())["pid"] == os.getpid()
    assert not (host.runtime / "waguard.lock").exists(), "one that root made would keep it out"
