"""By what a machine and a daemon on it are known."""

import os
from pathlib import Path

from waguard.host.system.machine import holder, machine


def test_a_machine_is_known_by_its_machine_id_which_is_not_shown(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("e08d2021fbdd6f894fde550c98aff54d\n")
    other.write_text("a08d2021fbdd6f894fde550c98aff54d\n")
    known = machine((one,))
    assert known == machine((tmp_path / "missing", one))
    assert known != machine((other,))
    assert len(known) == 32
    assert known != one.read_text().strip()


def test_without_a_machine_id_it_is_known_by_its_name(tmp_path: Path) -> None:
    empty, early = tmp_path / "empty", tmp_path / "early"
    empty.write_text("")
    early.write_text("uninitialized\n")
    assert machine((empty,)) == machine((early,)) == machine((tmp_path / "missing",)) != ""
    (tmp_path / "odd").mkdir()
    assert machine((tmp_path / "odd",)) == machine((empty,))


def test_a_runtime_folder_is_the_same_by_every_name(tmp_path: Path) -> None:
    folder = tmp_path / "rün"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    mine, again = holder(folder, "i1"), holder(tmp_path / "link", "i2")
    assert mine.same_place(again)
    assert mine.runtime.isascii()
    assert (mine.pid, mine.instance) == (os.getpid(), "i1")
    assert not mine.same_place(holder(tmp_path, "i1"))
