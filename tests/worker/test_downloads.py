"""The one download that was asked for, and those that a page begins by itself."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from waguard.wire.calls import FetchFile
from waguard.worker.browser import downloads
from waguard.worker.browser.devtools import DevTools
from waguard.worker.browser.errors import DevToolsError, DevToolsTimeoutError
from waguard.worker.call_handler import PageCalls
from waguard.worker.timings import TIMINGS

URL, GUID = "blob:https://web.whatsapp.com/1", "0f-1"
BEGIN, PROGRESS = "Browser.downloadWillBegin", "Browser.downloadProgress"


class Browser:
    """Downloads what a test says, after the click."""

    def __init__(self, folder: Path, *events: tuple[str, dict[str, Any]]) -> None:
        self.folder = folder
        self.events = events
        self.listeners: dict[str, Any] = {}
        self.said: list[Any] = []

    async def send(self, method: str, params: dict[str, Any], *, timeout: float) -> None:
        del timeout
        self.said.append((method, params["behavior"]))

    def post(self, method: str, params: dict[str, Any]) -> None:
        self.said.append((method, params["guid"]))

    def on(self, event: str, callback: Any) -> None:
        self.listeners[event] = callback

    def off(self, event: str, callback: Any) -> None:
        assert self.listeners.pop(event) == callback

    def cancelled(self) -> list[str]:
        return [it for method, it in self.said if method == "Browser.cancelDownload"]

    async def click(self) -> None:
        for event, params in self.events:
            self.listeners[event](params)

    async def save(self, *, timeout: float = 30.0) -> Path:
        devtools = cast("DevTools", self)
        try:
            return await downloads.save(
                devtools, URL, self.click, self.folder, limit=9, timeout=timeout
            )
        finally:
            assert not self.listeners
            behaviors = [it for method, it in self.said if method.endswith("Behavior")]
            assert behaviors == ["allowAndName", "deny"]


def progress(state: str = "inProgress", size: int = 4, **more: Any) -> tuple[str, dict[str, Any]]:
    return PROGRESS, {"guid": GUID, "state": state, "receivedBytes": size, **more}


def begin(url: str = URL, guid: str = GUID) -> tuple[str, dict[str, Any]]:
    return BEGIN, {"url": url, "guid": guid}


async def test_the_one_that_was_asked_for_is_saved(tmp_path: Path) -> None:
    (tmp_path / GUID).write_bytes(b"file")
    other = (PROGRESS, {"guid": "other", "state": "canceled"})
    events = [progress("completed"), begin(), other, progress()]
    browser = Browser(tmp_path, *events, progress("completed"), progress("canceled"))
    assert await browser.save() == tmp_path / GUID
    assert not browser.cancelled()


@pytest.mark.parametrize("first", [True, False])
async def test_another_one_ends_both(tmp_path: Path, *, first: bool) -> None:
    foreign = [begin("https://evil.example/", "f-1"), begin(URL if first else "x", "f-2")]
    events = [begin(), *foreign] if first else [*foreign, begin()]
    browser = Browser(tmp_path, *events, progress("completed"))
    with pytest.raises(DevToolsError, match="began another download"):
        await browser.save()
    assert browser.cancelled() == ["f-1", "f-2", GUID]


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([begin(), progress(size=10)], "more than 9 bytes"),
        ([begin(), progress(totalBytes=10)], "more than 9 bytes"),
        ([begin(), progress("canceled")], "gave the download up"),
        ([begin(), progress("completed")], "no file of its size"),
        ([begin(URL, "../../x")], "began another"),
        ([progress("completed")], "no answer within"),
    ],
)
async def test_what_is_not_saved(tmp_path: Path, events: list[Any], why: str) -> None:
    browser = Browser(tmp_path, *events)
    kind = DevToolsTimeoutError if "no answer" in why else DevToolsError
    with pytest.raises(kind, match=why):
        await browser.save(timeout=0.05 if kind is DevToolsTimeoutError else 30.0)


async def test_a_link_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / GUID).symlink_to(tmp_path / "secret")
    with pytest.raises(DevToolsError, match="no file"):
        await Browser(tmp_path, begin(), progress("completed")).save()


async def test_one_that_is_cancelled_ends(tmp_path: Path) -> None:
    browser = Browser(tmp_path, begin())
    saving = asyncio.create_task(browser.save())
    while len(browser.said) < 1:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert ("Browser.cancelDownload", GUID) in browser.said


async def test_one_that_times_out_in_the_page_is_discarded_there(tmp_path: Path) -> None:
    """It may come later, and nobody would have its address."""
    asked: list[str] = []

    async def call(name: str, *_: Any, **__: Any) -> None:
        asked.append(name)
        raise DevToolsTimeoutError("no answer within 1 s")

    folder = tmp_path / "coming"
    host = SimpleNamespace(page=SimpleNamespace(call=call), devtools=None)
    ctx = SimpleNamespace(watch=None, timings=TIMINGS)
    calls = PageCalls(cast("Any", ctx), cast("Any", host), cast("Any", None), cast("Any", None))
    with pytest.raises(DevToolsTimeoutError):
        await calls.answer(FetchFile(message_id="m", folder=str(folder), limit=9, timeout=1.0))
    assert asked == ["fileUrl", "discardFile"]
    assert not folder.exists()
