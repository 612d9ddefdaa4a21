"""The incarnation of the host's lease, for the next daemon of the same boot."""

import errno
from pathlib import Path

import pytest

from tests.host.odd_files import refuse
from waguard.host.memory import incarnation_file
from waguard.host.process.procfs import boot_id


def test_what_was_kept_is_read_by_the_next_daemon_of_this_boot(tmp_path: Path) -> None:
    assert incarnation_file.read(tmp_path, boot_id()) is None
    incarnation_file.write(tmp_path, "c", "h0", "one")
    incarnation_file.write(tmp_path, "c", "h0", "two")
    found = incarnation_file.read(tmp_path, boot_id())
    assert found
    assert (found.cluster, found.host, found.incarnation) == ("c", "h0", "two")
    path = tmp_path / incarnation_file.FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert [it.name for it in tmp_path.iterdir()] == [incarnation_file.FILE]


def test_after_a_reboot_there_is_none(tmp_path: Path) -> None:
    incarnation_file.write(tmp_path, "c", "h0", "one")
    assert incarnation_file.read(tmp_path, "another boot") is None


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"cluster":"c"}', b"[" * 100_000])
def test_what_cannot_be_read_is_none_and_is_quarantined(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / incarnation_file.FILE
    path.write_bytes(content)
    assert incarnation_file.read(tmp_path, boot_id()) is None
    assert [it.name for it in tmp_path.iterdir()] == [f"{path.name}.unreadable"]
    incarnation_file.write(tmp_path, "c", "h0", "one")
    assert incarnation_file.read(tmp_path, boot_id())


def test_what_the_system_does_not_let_be_read_now_is_not_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workers of before could be adopted no more."""
    incarnation_file.write(tmp_path, "c", "h0", "one")
    path = tmp_path / incarnation_file.FILE
    with monkeypatch.context() as patch:
        refuse(patch, path, errno.EMFILE)
        with pytest.raises(OSError, match="Too many open files"):
            incarnation_file.read(tmp_path, boot_id())
    assert incarnation_file.read(tmp_path, boot_id())
