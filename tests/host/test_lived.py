"""The file that keeps how long a daemon lived."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from loguru import logger

from tests.clocks import Clock
from tests.host.odd_files import Spoil, all_spoilt, mutations
from waguard.host import small_file
from waguard.host.memory.lived import FILE, LivedTime
from waguard.host.small_file import UnreadableError

DAY = 86_400.0
SPOILT = all_spoilt()


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is logged."""
    lines: list[str] = []
    sink = logger.add(lines.append, format="{message}")
    yield lines
    logger.remove(sink)


def test_the_days_without_a_daemon_are_known_to_the_next_one(tmp_path: Path) -> None:
    clock = Clock()
    born = clock.at
    first = LivedTime(tmp_path, clock)
    assert first.age(born) == 0
    clock.live(60.0)
    first.save()
    clock.live(30.0)
    clock.at, clock.up = clock.at + 2 * DAY, 7.0  # the machine was off
    second = LivedTime(tmp_path, clock)
    assert second.age(born) == 60.0
    clock.live(60.0)
    assert second.age(born) == 120.0
    assert second.ago(90.0) == born + 30.0
    second.save()
    assert LivedTime(tmp_path, clock).age(born) == 120.0


def test_a_step_counts_at_once(tmp_path: Path) -> None:
    clock = Clock()
    born = clock.at
    ages = LivedTime(tmp_path, clock)
    ages.save()
    clock.at += 365 * DAY
    assert ages.age(born) == 0.0
    assert ages.ago(1.0) == born - 1.0


def test_a_file_that_cannot_be_written_is_said_once(tmp_path: Path, lines: list[str]) -> None:
    ages = LivedTime(tmp_path, Clock())
    (tmp_path / f"{FILE}.new").mkdir()
    ages.save()
    ages.save()
    assert sum("cannot be written" in line for line in lines) == 1
    (tmp_path / f"{FILE}.new").rmdir()
    ages.save()
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_an_odd_file_is_quarantined_and_begun_again(tmp_path: Path, spoil: Spoil) -> None:
    clock = Clock()
    spoil(tmp_path / FILE, b'{"at":1.0,"reached":2.0,"gaps":[[0.5,"boot"]]}')
    ages = LivedTime(tmp_path, clock)
    assert ages.age(clock.at - 10.0) == 10.0
    ages.save()
    assert LivedTime(tmp_path, clock).age(clock.at - 10.0) == 10.0
    assert list(tmp_path.glob(f"{FILE}*.unreadable"))


def test_a_file_that_the_system_does_not_let_be_read_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    LivedTime(tmp_path, clock).save()
    before = (tmp_path / FILE).read_bytes()

    def refused(*_: object, **__: object) -> bytes:
        raise UnreadableError("EIO", by_system=True)

    with monkeypatch.context() as patch:
        patch.setattr(small_file, "read", refused)
        ages = LivedTime(tmp_path, clock)
    clock.live(60.0)
    ages.save()
    assert [it.name for it in tmp_path.iterdir()] == [FILE]
    assert (tmp_path / FILE).read_bytes() == before


def test_no_mutation_makes_anything_older(tmp_path: Path) -> None:
    clock = Clock()
    ages = LivedTime(tmp_path, clock)
    clock.at += DAY
    ages.age(0.0)
    clock.at += DAY
    ages.save()
    content = (tmp_path / FILE).read_bytes()
    for odd in mutations(content):
        (tmp_path / FILE).write_bytes(odd)
        found = LivedTime(tmp_path, clock)
        for since in (0.0, clock.at - 3 * DAY, clock.at):
            assert found.age(since) <= clock.at - since
        assert found.age(found.ago(DAY)) == pytest.approx(DAY, abs=1e-3)


def test_only_a_clock_that_was_set_is_a_warning(tmp_path: Path) -> None:
    levels: list[str] = []
    sink = logger.add(lambda it: levels.append(it.record["level"].name))
    clock = Clock()
    LivedTime(tmp_path, clock).save()
    clock.at += 1_000.0  # an ordinary start after a quarter of an hour
    second = LivedTime(tmp_path, clock)
    second.age(0.0)
    clock.at += 1_000.0
    second.save()
    clock.at -= DAY
    LivedTime(tmp_path, clock).age(0.0)
    logger.remove(sink)
    assert levels == ["INFO", "WARNING", "WARNING"]
