"""The file that remembers numbers over restarts."""

import errno
import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from loguru import logger

from tests.clocks import Clock
from tests.host.odd_files import Spoil, all_spoilt, mutations, refuse
from waguard.core.history import FLEET, Layout
from waguard.host.memory.history_file import FILE, HistoryFile

SPOILT = all_spoilt()


class World:
    """Daemons on one machine, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / FILE
        self.clock = Clock()
        self.clock.at -= self.clock.at % 86_400
        self.file = self.restarted()

    def restarted(self) -> HistoryFile:
        self.file = HistoryFile(self.folder, self.clock)
        self.file.load()
        return self.file

    def write(self, connected: float, **sessions: tuple[float, float]) -> None:
        self.file.write({"connected": connected}, sessions)

    def minutes(self, ago: int = 0, *, means: bool = False) -> float | None:
        """What is known of so many spans ago; NaN: of all but this."""
        layout, content = self.file.read()
        ring = layout.means if means else layout.minutes
        found = ring.values(content, ring.span(self.clock.at) - ago)
        return None if found is None else found[layout.fleet.index("connected")]

    def session(self, name: str) -> tuple[float, ...] | None:
        layout, content = self.file.read()
        ring = layout.of_sessions
        found = ring.values(content, ring.span(self.clock.at))
        first = 2 * layout.sessions.index(name)
        return None if found is None else found[first : first + 2]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is logged."""
    lines: list[str] = []
    sink = logger.add(lines.append, format="{message}")
    yield lines
    logger.remove(sink)


def test_the_next_daemon_knows_what_this_one_wrote_and_downtime_is_unknown(world: World) -> None:
    assert world.minutes() is None, "there is no file"
    world.write(188, a=(100.0, 1.5))
    assert world.path.stat().st_mode & 0o777 == 0o600
    world.restarted()
    world.clock.live(180.0)
    world.write(190, a=(200.0, 2.5))
    assert [world.minutes(ago) for ago in range(4)] == [190.0, None, None, 188.0]
    assert world.session("a") == (200.0, 2.5)
    layout, content = world.file.read()
    values = layout.minutes.values(content, layout.minutes.span(world.clock.at)) or ()
    assert math.isnan(values[FLEET.index("restarts")]), "it was not said"


def test_a_tick_that_comes_late_leaves_no_gap(world: World) -> None:
    world.clock.live(58.0)
    world.write(1)
    world.clock.live(63.0)
    world.write(2)
    assert [world.minutes(ago) for ago in range(3)] == [2.0, 2.0, 1.0]


def test_ten_minutes_have_their_mean_also_where_a_daemon_died_between(world: World) -> None:
    for value in range(10):
        world.write(value)
        world.clock.live(60.0)
    world.restarted()
    world.write(100)
    assert world.minutes(1, means=True) == 4.5
    assert world.minutes(means=True) is None, "it is not over"
    world.clock.live(600.0)
    world.write(0)
    assert world.minutes(1, means=True) == 100.0


def test_after_days_the_ring_has_only_the_last_one(world: World) -> None:
    world.write(1)
    size = world.path.stat().st_size
    world.clock.live(3 * 86_400.0)
    world.write(2)
    world.clock.live(60.0)
    world.write(3)
    assert [world.minutes(ago) for ago in range(3)] == [3.0, 2.0, None]
    assert world.path.stat().st_size == size


def test_a_session_that_stopped_keeps_what_was_measured(world: World) -> None:
    world.write(1, a=(100.0, 1.5))
    world.clock.live(60.0)
    world.write(1)
    assert world.session("a") == (100.0, 1.5)
    world.clock.live(300.0)
    world.write(1, b=(7.0, 8.0))
    assert world.session("b") == (7.0, 8.0)
    assert all(map(math.isnan, world.session("a") or (0.0,)))


def test_a_clock_that_was_set_back_writes_on(world: World) -> None:
    world.write(1)
    world.clock.at -= 3_600.0
    world.write(2)
    assert world.minutes() == 2.0


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
def test_what_is_spoilt_is_quarantined_and_a_new_one_begun(
    world: World, spoil: Spoil, lines: list[str]
) -> None:
    world.write(1)
    content = world.path.read_bytes()
    world.path.unlink()
    spoil(world.path, content)
    world.restarted()
    world.write(2)
    assert world.minutes() == 2.0
    if world.file.unreadable:
        assert any("quarantined" in it for it in lines)
        assert list(world.folder.glob(f"{FILE}*.unreadable"))


@pytest.mark.parametrize("size", [0, 30, 5_000])
def test_a_file_that_was_cut_while_a_daemon_runs_is_begun_again(world: World, size: int) -> None:
    world.write(1)
    with world.path.open("r+b") as file:
        file.truncate(size)
    world.clock.live(60.0)
    world.write(2)
    assert world.minutes() == 2.0
    assert list(world.folder.glob(f"{FILE}*.unreadable"))
    world.path.unlink()
    world.write(3)
    assert world.minutes() == 3.0


def test_no_content_is_misread(world: World) -> None:
    world.write(1, a=(1.0, 2.0))
    content = world.path.read_bytes()
    for changed in islice(mutations(content[:200]), 30):
        world.path.write_bytes(changed + content[200:])
        world.restarted()
        world.write(2)
        assert world.minutes() == 2.0


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EIO, errno.EACCES])
def test_what_the_system_does_not_let_be_read_now_is_no_damage(
    world: World, monkeypatch: pytest.MonkeyPatch, lines: list[str], code: int
) -> None:
    world.write(1)
    with monkeypatch.context() as patch:
        refuse(patch, world.path, code)
        world.restarted()
        world.clock.live(60.0)
        world.write(2)
        world.write(2)
    assert world.file.unreadable is None
    assert len(lines) == 2, "at the start, and the first time that nothing is written"
    world.write(3)
    assert [world.minutes(ago) for ago in range(2)] == [3.0, 1.0]
    assert not list(world.folder.glob("*.unreadable"))


def test_a_disk_that_takes_nothing_is_reported_once(world: World, lines: list[str]) -> None:
    draft = world.path.with_name(f"{FILE}.new")
    draft.mkdir()
    world.write(1)
    world.write(1)
    assert sum("history cannot be written" in it for it in lines) == 1
    draft.rmdir()
    world.write(2)
    assert world.minutes() == 2.0


def test_a_file_of_a_later_version_keeps_its_series(world: World) -> None:
    later = Layout((*FLEET, "of_later"), ("a",))
    world.path.write_bytes(later.empty)
    world.path.chmod(0o600)
    world.restarted()
    world.write(5, a=(1.0, 2.0), b=(3.0, 4.0))
    layout, _ = world.file.read()
    assert layout.fleet == later.fleet
    assert world.minutes() == 5.0
