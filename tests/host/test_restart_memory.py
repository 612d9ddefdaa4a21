"""The file that keeps how often sessions were restarted."""

import errno
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from loguru import logger

from tests.clocks import Clock
from tests.host.odd_files import Spoil, all_spoilt, mutations, refuse
from waguard.core.replace import replace
from waguard.core.session.restart import COUNTED, SESSIONS, Remembered
from waguard.host.memory.restart_memory import FILE, LIMIT, RestartMemory

SPOILT = all_spoilt()
CLOCK = Clock()
ONE = Remembered(
    counted=(CLOCK.at - 20.0, CLOCK.at - 10.0), restarts=7, tries=2, unlinked_at=CLOCK.at - 20.0
)


@pytest.fixture
def memory(tmp_path: Path) -> RestartMemory:
    return RestartMemory(tmp_path, Clock())


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is logged."""
    lines: list[str] = []
    sink = logger.add(lines.append, format="{message}")
    yield lines
    logger.remove(sink)


def test_the_next_daemon_knows_what_this_one_saved(tmp_path: Path, memory: RestartMemory) -> None:
    assert memory.load() == {}
    memory.save({"a": ONE, "b": Remembered(restarts=1), "well": Remembered()})
    assert RestartMemory(tmp_path, Clock()).load() == {"a": ONE, "b": Remembered(restarts=1)}
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    lost = {"b": Remembered(unlinked_at=CLOCK.at, unlinked_said="account_locked")}
    memory.save(lost)
    assert RestartMemory(tmp_path, Clock()).load() == lost


def test_what_has_not_changed_is_not_written_again(tmp_path: Path, memory: RestartMemory) -> None:
    memory.save({"a": ONE})
    before = (tmp_path / FILE).stat().st_ino
    memory.save({"a": ONE, "well": Remembered()})
    second = RestartMemory(tmp_path, Clock())
    second.save(second.load())
    assert (tmp_path / FILE).stat().st_ino == before
    memory.save({})
    assert RestartMemory(tmp_path, Clock()).load() == {}


def test_a_restart_that_is_still_to_come_counts_for_nothing(
    tmp_path: Path, memory: RestartMemory
) -> None:
    memory.save({"a": ONE})
    back = Clock()
    back.at -= 15.0
    later = RestartMemory(tmp_path, back)
    assert later.load() == {"a": replace(ONE, counted=ONE.counted[:1])}
    assert later.unreadable is None, "a clock that was set back is no garbage"


def test_the_memory_is_bounded_and_the_largest_can_be_read_again(
    tmp_path: Path, memory: RestartMemory
) -> None:
    born = CLOCK.at - 1e6
    many = {
        f"{number:05d}" + "n" * 250: Remembered(
            counted=tuple(born + number + tick / 7 for tick in range(COUNTED + 5)),
            restarts=1 << 40,
            tries=1 << 40,
        )
        for number in range(SESSIONS + 5)
    }
    memory.save(many)
    found = RestartMemory(tmp_path, Clock()).load()
    assert len(found) == SESSIONS
    assert min(found) == "00005" + "n" * 250, "those that restarted last are kept"
    assert all(one.counted == many[name].counted[-COUNTED:] for name, one in found.items())
    assert (tmp_path / FILE).stat().st_size < LIMIT


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_an_odd_file_is_quarantined_and_begun_again(
    tmp_path: Path, memory: RestartMemory, spoil: Spoil
) -> None:
    spoil(tmp_path / FILE, b'{"boot":{"counted":[1.0],"restarts":1,"tries":0}}')
    assert memory.load() == {}
    assert memory.unreadable
    assert list(tmp_path.glob(f"{FILE}*.unreadable"))
    memory.save({"a": ONE})
    assert RestartMemory(tmp_path, Clock()).load() == {"a": ONE}


def test_what_the_system_does_not_let_be_read_is_not_replaced(
    tmp_path: Path, memory: RestartMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    RestartMemory(tmp_path, Clock()).save({"a": ONE})
    with monkeypatch.context() as patch:
        refuse(patch, tmp_path / FILE, errno.EMFILE)
        assert memory.load() == {}
    memory.save({"b": ONE})
    assert memory.unreadable is None
    assert RestartMemory(tmp_path, Clock()).load() == {"a": ONE}


@pytest.mark.parametrize(
    "odd", [{"restarts": -1}, {"tries": -1}, {"counted": [-1.0]}, {"unlinked_at": -1.0}]
)
def test_numbers_below_zero_are_quarantined(
    tmp_path: Path, memory: RestartMemory, odd: dict[str, object]
) -> None:
    (tmp_path / FILE).write_bytes(msgspec.json.encode({"a": odd}))
    assert memory.load() == {}
    assert memory.unreadable == "it has numbers below zero"


def test_no_mutation_counts_what_is_to_come_or_below_zero(tmp_path: Path) -> None:
    RestartMemory(tmp_path, Clock()).save({"a": ONE, "b": replace(ONE, tries=0)})
    content = (tmp_path / FILE).read_bytes()
    for odd in mutations(content):
        (tmp_path / FILE).write_bytes(odd)
        for one in RestartMemory(tmp_path, Clock()).load().values():
            assert all(0 <= at <= CLOCK.at for at in one.counted)
            assert min(one.restarts, one.tries) >= 0


def test_what_cannot_be_written_is_logged_once_and_written_later(
    tmp_path: Path, memory: RestartMemory, lines: list[str]
) -> None:
    (tmp_path / f"{FILE}.new").mkdir()
    memory.save({"a": ONE})
    memory.save({"a": ONE})
    assert sum("history of restarts cannot be written" in line for line in lines) == 1
    (tmp_path / f"{FILE}.new").rmdir()
    memory.save({"a": ONE})
    assert RestartMemory(tmp_path, Clock()).load() == {"a": ONE}
