"""What an earlier daemon left, while the system reads nothing."""

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.host.odd_files import refuse
from tests.host.test_odd_files import record, written
from waguard.daemon import leftovers as under_test
from waguard.daemon.leftovers import Leftovers
from waguard.daemon.runtime_folder import RuntimeFolder
from waguard.errors import UnavailableError
from waguard.wire.worker import WorkerRecord


class Left:
    """A runtime folder with the record of one worker, which lives."""

    def __init__(self, runtime: Path) -> None:
        self.reported: list[str] = []
        lock: Any = SimpleNamespace(found_unreadable=None)
        trail: Any = SimpleNamespace(record=lambda *_, reason: self.reported.append(reason))
        folder = RuntimeFolder(runtime, lock)
        folder.make()
        self.path = folder.workers / "a.json"
        self.path.write_bytes(written())
        self.unknown = set[int]()
        """Pids of which the system does not say whether they live."""
        self.asked: list[int] = []
        self.it = Leftovers(folder, (), self._adopt, trail)

    def _adopt(self, it: WorkerRecord) -> Any:
        self.asked.append(it.pid)
        if it.pid in self.unknown:
            raise UnavailableError("it is not known")
        return SimpleNamespace(pid=it.pid)

    def sessions(self) -> list[str]:
        """Those whose workers are adopted."""
        return [found.session for found, _ in self.it.workers()]


@pytest.fixture
def left(tmp_path: Path) -> Left:
    return Left(tmp_path)


def test_a_worker_whose_record_cannot_be_read_now_is_adopted_when_it_can(
    left: Left, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        refuse(patch, left.path, errno.EMFILE)
        with pytest.raises(UnavailableError, match=r"a\.json: .*Too many open files"):
            left.sessions()
    assert left.sessions() == [record().session]
    assert left.reported == []


def test_a_worker_of_which_nothing_is_known_now_is_adopted_when_it_is(
    left: Left,
) -> None:
    """Its record stays. Those before it are adopted once: each holds a descriptor."""
    left.path.with_name("b.json").write_bytes(written(2))
    left.unknown.add(2)
    with pytest.raises(UnavailableError, match="not known"):
        left.sessions()
    left.unknown.clear()
    assert [process.pid for _, process in left.it.workers()] == [1, 2]
    assert left.asked == [1, 2, 2]
    assert left.it.lost == []


def test_a_record_that_is_never_read_keeps_no_other_from_being_adopted(
    left: Left, monkeypatch: pytest.MonkeyPatch
) -> None:
    left.path.with_name("b.json").write_bytes(written())
    left.path.with_name("c.json").write_bytes(b"{")
    refuse(monkeypatch, left.path, errno.EACCES)
    for _ in range(under_test.TRIES):
        with pytest.raises(UnavailableError):
            left.sessions()
    assert left.sessions() == [record().session]
    assert left.path.exists()
    [reported] = left.reported
    assert "c.json" in reported
