"""``keys.json``: private, whole or not at all, and believed only where it is what waguard wrote."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from waguard.core import issued_keys
from waguard.core.issued_keys import IssuedKey, Wanted
from waguard.core.keys import Caller, Right
from waguard.host.memory import key_memory
from waguard.host.small_file import UnreadableError

ROOT = Caller(name="root by the socket", right=Right.ADMIN)
TEXT = f"wg_0a1b2c3d_{'s' * 43}"


def key() -> IssuedKey:
    wanted = Wanted(name="shop", right=Right.SEND, workspaces=(7,), lasts=60.0)
    return issued_keys.issue(ROOT, wanted, key_id="0a1b2c3d", text=TEXT, now=1_790_000_000.0)


@pytest.fixture
def path(short_path: Path) -> Path:
    return short_path / key_memory.FILE


def test_it_is_for_this_user_alone_and_holds_no_key(path: Path) -> None:
    assert key_memory.read(path) == ()
    key_memory.write(path, [key()])
    assert key_memory.read(path) == (key(),)
    assert path.stat().st_mode & 0o777 == 0o600
    assert "s" * 43 not in path.read_text()
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_leaves_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key_memory.write(path, [key()])

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        key_memory.write(path, [])
    assert key_memory.read(path) == (key(),)


def written(path: Path, **changes: Any) -> dict[str, Any]:
    """The file's content, its key changed; None: without the field."""
    key_memory.write(path, [key()])
    content: dict[str, Any] = json.loads(path.read_bytes())
    one = content["keys"][0] | changes
    content["keys"] = [{name: it for name, it in one.items() if it != "missing"}]
    return content


@pytest.mark.parametrize(
    "changes",
    [
        *({name: "missing"} for name in ("right", "workspaces", "sessions", "expires_at", "sha256")),
        {"right": "owner"},
        {"workspaces": ["7"]},
        {"sessions": "all"},
        {"id": "x"},
        {"sha256": "A" * 64},
        {"sha256": "a" * 64 + "\n"},
        {"name": "the application"},
        {"expires_at": 1e300},
        {"expires_at": "never"},
    ],
    ids=str,
)  # fmt: skip
def test_a_key_that_is_none_is_not_believed(path: Path, changes: dict[str, Any]) -> None:
    """A limit that is missing is no "without a limit"."""
    content = json.dumps(written(path, **changes))
    path.write_text(content)
    with pytest.raises(UnreadableError, match="not a file of keys"):
        key_memory.read(path)
    assert path.read_text() == content, "it stays as it is"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "not a file of keys"),
        ("{", "not a file of keys"),
        ("[]", "not a file of keys"),
        ("[" * 5_000, "not a file of keys"),
        ('{"version":1}', "not a file of keys"),
        ('{"keys":[]}', "not a file of keys"),
        ('{"version":2,"keys":7}', "version 2"),
        ("\xff", "not a file of keys"),
    ],
    ids=lambda it: it[:12],
)
def test_what_is_no_such_file_is_not_believed(path: Path, content: str, why: str) -> None:
    path.write_bytes(content.encode("latin-1"))
    path.chmod(0o600)
    with pytest.raises(UnreadableError, match=why):
        key_memory.read(path)


def test_a_key_twice_is_not_believed(path: Path) -> None:
    content = written(path)
    content["keys"] *= 2
    path.write_text(json.dumps(content))
    with pytest.raises(UnreadableError, match="a key twice"):
        key_memory.read(path)


def test_a_field_of_a_later_version_is_ignored(path: Path) -> None:
    """A limit would be another version of the file."""
    content = written(path, note="x")
    path.write_text(json.dumps(content | {"more": 1}))
    assert key_memory.read(path) == (key(),)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_what_others_can_use_is_not_believed(path: Path, mode: int) -> None:
    key_memory.write(path, [key()])
    path.chmod(mode)
    with pytest.raises(UnreadableError, match="is open to other users"):
        key_memory.read(path)


def test_what_lies_in_a_folder_that_others_can_write_is_not_believed(path: Path) -> None:
    key_memory.write(path, [key()])
    path.parent.chmod(0o777)
    with pytest.raises(UnreadableError, match="can be written by others"):
        key_memory.read(path)


def test_a_link_or_a_folder_in_its_place_is_not_believed(path: Path) -> None:
    key_memory.write(path.with_name("elsewhere"), [key()])
    path.symlink_to("elsewhere")
    with pytest.raises(UnreadableError, match="symbolic link"):
        key_memory.read(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(UnreadableError, match="not a regular file"):
        key_memory.read(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_what_another_user_owns_is_not_believed(path: Path) -> None:
    key_memory.write(path, [key()])
    os.chown(path, 12345, 12345)
    with pytest.raises(UnreadableError, match="belongs to user 12345"):
        key_memory.read(path)
