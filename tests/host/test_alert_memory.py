"""The file that keeps what each destination of alerts got."""

import errno
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from loguru import logger

from tests.golden.state_files import ALERTS
from tests.host.odd_files import refuse
from waguard.core.alerts.alerts import AlertState
from waguard.core.replace import replace
from waguard.host.files.private_files import replace_private
from waguard.host.memory.alert_memory import FILE, AlertMemory


def test_the_next_daemon_knows_what_was_sent_and_nothing_is_written_twice(tmp_path: Path) -> None:
    memory = AlertMemory(tmp_path)
    assert memory.load() == AlertState()
    memory.save(ALERTS)
    file = tmp_path / FILE
    assert (file.stat().st_mode & 0o777, AlertMemory(tmp_path).load()) == (0o600, ALERTS)
    before = file.stat().st_ino
    again = AlertMemory(tmp_path)
    again.save(again.load())
    assert file.stat().st_ino == before
    again.save(AlertState())
    assert AlertMemory(tmp_path).load() == AlertState()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": 1}', b"\xff" * 20, b"[" * 10_000])
def test_an_unreadable_file_is_quarantined(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    memory = AlertMemory(tmp_path)
    assert memory.load() == AlertState()
    assert memory.unreadable
    assert (tmp_path / f"{FILE}.unreadable").read_bytes() == content


def test_what_the_system_does_not_let_be_read_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    AlertMemory(tmp_path).save(ALERTS)
    with monkeypatch.context() as patch:
        refuse(patch, tmp_path / FILE, errno.EMFILE)
        memory = AlertMemory(tmp_path)
        assert memory.load() == AlertState()
    memory.save(replace(ALERTS, destinations={}))
    assert memory.unreadable is None
    assert AlertMemory(tmp_path).load() == ALERTS


def test_two_threads_do_not_write_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = AlertMemory(tmp_path)
    first, free = threading.Event(), threading.Event()

    def slow(path: Path, content: bytes) -> None:
        if not first.is_set():
            first.set()
            free.wait()
        replace_private(path, content)

    monkeypatch.setattr("waguard.host.memory.alert_memory.replace_private", slow)
    with ThreadPoolExecutor(2) as threads:
        hanging = threads.submit(memory.save, ALERTS)
        first.wait()
        last = threads.submit(memory.save, AlertState())
        too_early = wait([last], timeout=0.05).done
        free.set()
        wait([hanging, last])
    assert not too_early
    assert AlertMemory(tmp_path).load() == AlertState(), "the last one counts"


def test_what_cannot_be_written_is_logged_once_and_written_later(tmp_path: Path) -> None:
    lines: list[str] = []
    sink = logger.add(lines.append, format="{message}")
    memory = AlertMemory(tmp_path)
    (tmp_path / f"{FILE}.new").mkdir()
    memory.save(ALERTS)
    memory.save(ALERTS)
    logger.remove(sink)
    assert len(lines) == 1
    (tmp_path / f"{FILE}.new").rmdir()
    memory.save(ALERTS)
    assert AlertMemory(tmp_path).load() == ALERTS


def test_what_is_no_text_ends_no_daemon(tmp_path: Path) -> None:
    broken = replace(ALERTS, destinations={"jos\udce9": next(iter(ALERTS.destinations.values()))})
    memory = AlertMemory(tmp_path)
    memory.save(broken)
    assert not (tmp_path / FILE).exists()
    memory.save(ALERTS)
    assert AlertMemory(tmp_path).load() == ALERTS
