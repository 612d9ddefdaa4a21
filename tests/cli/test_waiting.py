"""Who waits says so, for no longer than it is told to; a daemon that stands still is named."""

import asyncio
import fcntl
import os
import shutil
import signal
import threading
from pathlib import Path

import pytest

from tests.cli.fake_api import Answer, Api, said, write_pid_file
from tests.cli.program import CONTEXT, main
from tests.waiting import DEADLINE, wait_until
from waguard.cli import main as program
from waguard.cli.waiting import Waiting
from waguard.core.replace import replace
from waguard.host.process import procfs

IMPATIENT = replace(CONTEXT, says_after=0.0)
CODE = Answer(200, {"raw": "2@abc", "qr_code": "data:", "expires_in": 0})
STATUS = "GET /api/sessions/a/status"


def waits(message: str) -> Answer:
    return Answer(200, {"status": "disconnected", "conditions": [{"message": message}]})


def test_a_code_that_does_not_come_says_why_and_each_reason_once(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    reasons = ["memory: 3 MB available", "the worker is starting"]
    api.says(STATUS, waits(reasons[0]), waits(reasons[0]), waits(reasons[1]))
    asked = iter(range(3))

    def code(request: str) -> Answer:
        """Not before the reason was said."""
        number = next(asked, None)
        if number is None:
            return CODE
        if number == 0:
            api.wait_for(STATUS)
        return Answer(425, {"error": "no QR code yet"})

    api.compute["GET /api/sessions/a/qr?wait=20"] = code
    assert program(["qr", "a", "--raw"], IMPATIENT) == 0
    out, err = said(capsys)
    assert out == ["2@abc"]
    assert err == [f"waiting for the QR code of a: {reason}" for reason in reasons]


def test_who_gets_an_answer_soon_says_nothing(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says("GET /api/sessions/a/qr?wait=20", CODE)
    assert main(["qr", "a", "--raw"]) == 0
    assert said(capsys) == (["2@abc"], [])


def test_what_waits_inside_of_another_wait_says_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    heard = threading.Event()

    def why() -> str:
        heard.set()
        return "no phone"

    with Waiting("the outer", why, after=0.0), Waiting("the inner", lambda: "no", after=0.0):
        assert heard.wait(DEADLINE)
    assert said(capsys)[1] in ([], ["waiting for the outer: no phone"])


def test_reasons_are_said_one_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    """The timer still asks for the first reason when the wait goes on."""
    asked, goes_on = threading.Event(), threading.Event()
    reasons = iter(["the first", "the second"])

    def why() -> str:
        reason = next(reasons)
        if reason == "the first":
            asked.set()
            goes_on.wait(0.2)
        else:
            goes_on.set()
        return reason

    with Waiting("a code", why, after=0.0) as waiting:
        assert asked.wait(DEADLINE)
        waiting.goes_on()
    assert said(capsys)[1] == [f"waiting for a code: the {which}" for which in ("first", "second")]


@pytest.mark.parametrize(
    "words", [["qr", "a", "--raw"], ["sessions", "stop", "a"], ["why"], ["reconcile"]]
)
def test_nobody_waits_for_longer_than_the_timeout(
    api: Api, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    silent = threading.Event()
    api.held = silent
    try:
        assert main([*words, "--timeout", "0.2"]) == 1
    finally:
        silent.set()
    assert "within 0.2 s" in said(capsys)[1][-1]


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "inf"])
def test_a_timeout_is_a_number_of_seconds(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["why", f"--timeout={text}"])
    assert stopped.value.code == 2
    assert "number of seconds" in said(capsys)[1][-1]


async def test_a_daemon_that_stands_still_is_named_with_its_lock(
    api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = threading.Event()
    api.held = silent
    sleep = await asyncio.create_subprocess_exec(str(shutil.which("sleep")), "60")
    lock = os.open(api.folder / "run/waguard.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        sleep.send_signal(signal.SIGSTOP)
        await wait_until(lambda: procfs.is_stopped(sleep.pid), "it stands still")
        write_pid_file(api.folder, "http://127.0.0.1:9", sleep.pid)
        assert await asyncio.to_thread(main, ["status", "--timeout", "0.2"]) == 1
    finally:
        silent.set()
        os.close(lock)
        sleep.kill()
        await sleep.wait()
    [line] = said(capsys)[1]
    assert f"pid {sleep.pid} is stopped" in line
    assert "is held" in line
    assert "SIGCONT" in line
