"""The file by which the next daemon knows how this one ended."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from loguru import logger

from tests.clocks import Clock
from tests.host.odd_files import Spoil, all_spoilt, mutations, refuse
from tests.small_disk import small_disk
from waguard.core.host.last_run import AHEAD, Run, account
from waguard.host.memory.run_file import FILE, RunFile
from waguard.host.process import procfs

SPOILT = all_spoilt()


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is logged."""
    lines: list[str] = []
    sink = logger.add(lines.append, format="{message}")
    yield lines
    logger.remove(sink)


def begun(folder: Path, clock: Clock) -> RunFile:
    file = RunFile(folder, clock)
    file.begin()
    return file


def written(folder: Path) -> Run:
    return msgspec.json.decode((folder / FILE).read_bytes(), type=Run)


def marks(path: Path) -> tuple[int, int]:
    """Which file it is, and its time."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


def died(folder: Path, **changes: object) -> None:
    """The process that wrote it is gone."""
    found = msgspec.json.decode((folder / FILE).read_bytes())
    seen = (folder / FILE).stat().st_mtime_ns
    (folder / FILE).write_bytes(msgspec.json.encode({**found, "start_time": 1, **changes}))
    os.utime(folder / FILE, ns=(seen, seen))


def test_a_first_start_knows_of_no_other(tmp_path: Path) -> None:
    file = begun(tmp_path, Clock())
    assert (file.deaths, file.before, file.unreadable) == ((), None, None)
    assert not (tmp_path / FILE).exists(), "what lies there is read before it is overwritten"


def test_a_killed_daemon_is_known_with_the_moment_when_it_was_last_seen(tmp_path: Path) -> None:
    clock = Clock()
    first = begun(tmp_path, clock)
    first.renew(reported=True)
    assert written(tmp_path).pid == os.getpid()
    content = (tmp_path / FILE).stat().st_ino
    clock.live(50.0)
    first.renew(reported=True)
    assert (tmp_path / FILE).stat().st_ino == content, "only its time is new"
    seen = clock.at
    died(tmp_path)
    clock.live(3.0)
    (death,) = begun(tmp_path, clock).deaths
    assert death.last_seen == pytest.approx(seen, abs=1e-3)
    assert (death.began, death.next_began) == (seen - 50.0, clock.at)
    assert not death.rebooted
    assert "was killed or crashed between" in account(death)


def test_what_the_system_does_not_let_be_read_now_is_left_to_the_next_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    begun(tmp_path, clock).renew(reported=True)
    died(tmp_path)
    before = marks(tmp_path / FILE)
    with monkeypatch.context() as patch:
        refuse(patch, tmp_path / FILE, errno.EMFILE)
        second = begun(tmp_path, clock)
    clock.live(50.0)
    second.renew(reported=True)
    assert second.unreadable is None
    assert marks(tmp_path / FILE) == before
    assert len(begun(tmp_path, clock).deaths) == 1


def test_a_reboot_is_known_by_the_boot_id(tmp_path: Path) -> None:
    clock = Clock()
    begun(tmp_path, clock).renew(reported=True)
    died(tmp_path, boot="another")
    (death,) = begun(tmp_path, clock).deaths
    assert death.rebooted


def test_an_orderly_end_is_no_death(tmp_path: Path) -> None:
    clock = Clock()
    first = begun(tmp_path, clock)
    with first.ending():
        first.renew(reported=True)
        first.stopping("SIGTERM")
        clock.live(2.0)
    died(tmp_path)
    second = begun(tmp_path, clock)
    assert second.deaths == ()
    assert "had ended in order at 14:13:22 UTC (SIGTERM); the machine was not" in str(second.before)


def test_what_dies_while_it_stops_is_a_death(tmp_path: Path) -> None:
    clock = Clock()
    first = begun(tmp_path, clock)
    first.stopping("SIGTERM")
    died(tmp_path)
    (death,) = begun(tmp_path, clock).deaths
    assert death.stopping == "SIGTERM"


def test_an_error_is_kept_in_words(tmp_path: Path) -> None:
    clock = Clock()
    first = begun(tmp_path, clock)
    first.stopping("SIGTERM")
    with pytest.raises(RuntimeError), first.ending():
        raise RuntimeError("x" * 1000)
    died(tmp_path)
    (death,) = begun(tmp_path, clock).deaths
    assert str(death.error).startswith("RuntimeError('xxx")
    assert len(str(death.error)) == 200


def test_a_death_is_handed_on_until_it_is_on_the_trail(tmp_path: Path) -> None:
    clock = Clock()
    begun(tmp_path, clock).renew(reported=True)
    died(tmp_path)
    begun(tmp_path, clock).renew(reported=False)
    died(tmp_path, pid=1)
    third = begun(tmp_path, clock)
    assert [death.pid for death in third.deaths] == [os.getpid(), 1]
    third.renew(reported=False)
    assert len(written(tmp_path).unreported) == 2
    third.renew(reported=True)
    assert written(tmp_path).unreported == ()


def test_the_file_of_a_living_daemon_is_left_alone(tmp_path: Path, lines: list[str]) -> None:
    """Two that were given one folder of state; this process stands for the other one."""
    clock = Clock()
    begun(tmp_path, clock).renew(reported=True)
    before = marks(tmp_path / FILE)
    clock.live(60.0)
    second = begun(tmp_path, clock)
    with second.ending():
        second.renew(reported=True)
        second.stopping("SIGTERM")
    assert marks(tmp_path / FILE) == before
    assert second.deaths == ()
    assert any("another waguard uses the same paths.state" in line for line in lines)


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_an_odd_file_is_quarantined_and_begun_again(tmp_path: Path, spoil: Spoil) -> None:
    clock = Clock()
    spoil(tmp_path / FILE, b'{"pid":1,"start_time":1,"boot":"boot","began":1.0}')
    file = begun(tmp_path, clock)
    assert file.unreadable
    assert file.deaths == ()
    assert list(tmp_path.glob(f"{FILE}*.unreadable"))
    file.renew(reported=True)
    assert written(tmp_path).boot == procfs.boot_id()


def test_one_from_the_future_is_quarantined(tmp_path: Path) -> None:
    clock = Clock()
    begun(tmp_path, clock).renew(reported=True)
    died(tmp_path)
    clock.at -= AHEAD + 1
    file = begun(tmp_path, clock)
    assert "in the future" in str(file.unreadable)
    assert file.deaths == ()
    assert (tmp_path / f"{FILE}.unreadable").exists()


def test_no_mutation_prevents_a_start(tmp_path: Path) -> None:
    clock = Clock()
    begun(tmp_path, clock).renew(reported=True)
    died(tmp_path)
    begun(tmp_path, clock).renew(reported=False)
    died(tmp_path, stopping="SIGTERM")
    content = (tmp_path / FILE).read_bytes()
    clock.live(10.0)
    for odd in mutations(content):
        (tmp_path / FILE).write_bytes(odd)
        os.utime(tmp_path / FILE, (clock.at, clock.at))
        file = begun(tmp_path, clock)
        assert all(account(death) for death in file.deaths)
        assert file.deaths or file.unreadable or file.before


def test_one_that_was_removed_is_written_again(tmp_path: Path) -> None:
    file = begun(tmp_path, Clock())
    file.renew(reported=True)
    (tmp_path / FILE).unlink()
    file.renew(reported=True)
    assert written(tmp_path).pid == os.getpid()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    clock = Clock()
    file = begun(tmp_path, clock)
    file.renew(reported=True)
    target = tmp_path / "target"
    target.touch()
    before = marks(target)
    (tmp_path / FILE).unlink()
    (tmp_path / FILE).symlink_to(target)
    file.renew(reported=True)
    file.stopping("SIGTERM")
    assert marks(target) == before
    assert written(tmp_path).stopping == "SIGTERM"


def test_what_cannot_be_written_is_logged_once_and_the_next_ones_file_keeps_its_time(
    tmp_path: Path, lines: list[str]
) -> None:
    clock = Clock()
    begun(tmp_path, clock).renew(reported=True)
    died(tmp_path)
    before = marks(tmp_path / FILE)
    (tmp_path / f"{FILE}.new").mkdir()
    clock.live(60.0)
    second = begun(tmp_path, clock)
    second.renew(reported=False)
    second.renew(reported=False)
    assert marks(tmp_path / FILE) == before, "it is still the first one's"
    assert sum("cannot be written" in line for line in lines) == 1
    (tmp_path / f"{FILE}.new").rmdir()
    second.renew(reported=False)
    assert len(written(tmp_path).unreported) == 1
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def full_disk(disk: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        (disk / "filler").write_bytes(bytes(2 << 20))


def test_a_full_disk_keeps_no_daemon_from_being_seen_alive(tmp_path: Path) -> None:
    clock = Clock()
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        file = begun(disk, clock)
        file.renew(reported=True)
        full_disk(disk)
        clock.live(60.0)
        file.stopping("SIGTERM")
        assert (disk / FILE).stat().st_mtime == pytest.approx(clock.at, abs=1e-3)


def test_an_orderly_end_on_a_full_disk_is_no_death(tmp_path: Path) -> None:
    clock = Clock()
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        file = begun(disk, clock)
        with file.ending():
            file.renew(reported=True)
            full_disk(disk)
            file.stopping("SIGTERM")
        assert written(disk).ended
        died(disk)
        second = begun(disk, clock)
        assert second.deaths == ()
        assert "ended in order" in str(second.before)


def test_what_is_longer_than_the_room_of_its_file_leaves_that_whole(
    tmp_path: Path, lines: list[str]
) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        file = begun(disk, Clock())
        file.renew(reported=True)
        before = written(disk)
        full_disk(disk)
        file.stopping("x" * 5_000)
        assert written(disk) == before
    assert sum("cannot be written" in line for line in lines) == 1
