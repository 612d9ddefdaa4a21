"""A file is kept beside the queue and goes into its webhook at the delivery; no fault of it costs
its message."""

import asyncio
import base64
import errno
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.messaging.gateway import Gateway, gateway
from tests.messaging.receiver import INSTANCE, Receiver
from tests.waiting import DEADLINE, wait_until
from waguard.config.sections import Media
from waguard.core.messages.inbox import EventPayload, File, InboxRecord, Kind
from waguard.core.messages.received_media import DEFERRED, GONE
from waguard.core.messages.send_states import State
from waguard.core.replace import replace
from waguard.errors import DatabaseUnavailableError
from waguard.host.files.media import MediaFolder
from waguard.messaging.database_backlog import JournalLimits
from waguard.messaging.file_stage import NO_ANSWER
from waguard.messaging.timings import WebhookTimings
from waguard.ports.clock import WallAges
from waguard.ports.outbox import StateUpdate
from waguard.ports.webhooks import GLOBAL
from waguard.store.retention import tidy_media

PICTURE = bytes(range(256)) * 8
NAME = hashlib.sha256(PICTURE).hexdigest()
URL = f"{INSTANCE}/api/media/{NAME}"


def received(number: int, content: bytes | None = PICTURE, **media: Any) -> InboxRecord:
    payload = {"mimetype": "image/png", "filename": "a.png", "size": None, "data": None}
    payload |= {"error": None, "sha256": None, "url": None, **media}
    message = {"id": f"false_1@c.us_{number}", "body": 'say "sha256"', "media": payload}
    return InboxRecord(
        session_id="a",
        workspace_id=1,
        key=str(number),
        kind=Kind.MESSAGE,
        at=1.0,
        chat="1@c.us",
        events=(EventPayload("message_received", {"message": message}),),
        file=File(content, "image/png") if content is not None else None,
    )


def put(it: Gateway, one: InboxRecord) -> None:
    it.journal.put((one,), it.news.extend)


async def delivered(it: Gateway, receiver: Receiver) -> dict[str, Any]:
    """The one file that is delivered."""
    assert await it.drained()
    media: dict[str, Any] = receiver.taken()[-1]["data"]["message"]["media"]
    return media


async def test_the_webhook_has_the_file_and_the_database_has_its_name(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.troubles.append(503)
    async with gateway(tmp_path, receiver.url) as it:
        receiver.free.clear()
        put(it, received(1))
        put(it, received(2))
        assert await it.journal.flushed(10.0)
        _, bodies = await it.store.messages.pending(GLOBAL, after=0, limit=10)
        assert bodies
        assert max(map(len, bodies.values())) < 1_000
        [kept, _] = [one.payload()["message"]["media"] for one in it.news]
        assert (kept["sha256"], kept["url"], kept["data"], kept["error"]) == (NAME, URL, None, None)
        receiver.free.set()
        media = await delivered(it, receiver)
    assert media == {
        "mimetype": "image/png",
        "filename": "a.png",
        "size": None,
        "data": base64.b64encode(PICTURE).decode(),
        "error": None,
        "sha256": NAME,
        "url": URL,
    }
    assert all(attempt.signed for attempt in receiver.attempts)
    assert len(list((tmp_path / "media").rglob(NAME))) == 1
    assert receiver.taken()[-1]["data"]["message"]["body"] == 'say "sha256"'


@pytest.mark.parametrize("text", ["sha256", '"sha256":', "sha256:"])
async def test_a_text_that_resembles_a_files_name(
    tmp_path: Path, receiver: Receiver, text: str
) -> None:
    data = {"message": {"id": "false_1@c.us_1", "body": text, "media": None}}
    one = replace(received(1, None), events=(EventPayload("message_received", data),))
    async with gateway(tmp_path, receiver.url) as it:
        put(it, one)
        assert await it.drained()
    assert receiver.taken()[-1]["data"]["message"]["body"] == text


async def test_a_file_that_expired_before_its_delivery(tmp_path: Path, receiver: Receiver) -> None:
    async with gateway(tmp_path, None) as it:
        it.settings = it.settings.__class__(url=receiver.url)
        receiver.free.clear()
        put(it, received(1))
        assert await it.journal.flushed(10.0)
        MediaFolder(tmp_path / "media").tidy(now=0, keep_for=0, size_limit=0)
        receiver.free.set()
        media = await delivered(it, receiver)
    assert (media["data"], media["error"], media["sha256"]) == (None, GONE, NAME)


async def test_a_disk_that_takes_no_file_does_not_cost_its_message(
    tmp_path: Path, receiver: Receiver, logged: list[str]
) -> None:
    (tmp_path / "media").write_text("no folder")
    async with gateway(tmp_path, receiver.url) as it:
        put(it, received(1))
        media = await delivered(it, receiver)
        assert it.news[0].file is None
    assert media["data"] is media["sha256"] is None
    assert media["error"] == DEFERRED
    assert media["url"].startswith(f"{INSTANCE}/api/media/")
    assert any("directory" in said.lower() for said in logged if "media_not_fetched" in said)


class Hung(MediaFolder):
    """A disk that answers when it is allowed to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.answers = threading.Event()
        self.asked = 0

    def keep(self, content: bytes, mimetype: str) -> str:
        self.asked += 1
        self.answers.wait()
        return super().keep(content, mimetype)

    def read(self, name: str) -> bytes | None:
        self.answers.wait()
        return super().read(name)


@pytest.fixture
def hung(tmp_path: Path) -> Iterator[Hung]:
    disk = Hung(tmp_path / "media")
    yield disk
    disk.answers.set()


async def test_a_disk_that_takes_nothing_any_more_holds_up_no_text(
    tmp_path: Path, receiver: Receiver, hung: Hung
) -> None:
    limits = JournalLimits(file_deadline=0.05)
    async with gateway(tmp_path, receiver.url, files=hung, limits=limits) as it:
        put(it, received(1))
        media = await delivered(it, receiver)
        assert (media["sha256"], media["error"]) == (None, DEFERRED)
        put(it, received(2))
        assert (await delivered(it, receiver))["error"] == DEFERRED
        assert hung.asked == 1  # nobody waits for a disk that is known to be stuck
        hung.answers.set()
        keeping = it.journal._stage._writer._last
        assert keeping
        await asyncio.wait({keeping})
        it.journal._stage._writer._deadline = DEADLINE
        put(it, received(3))
        assert (await delivered(it, receiver))["sha256"] == NAME


async def test_a_disk_that_gives_nothing_any_more_holds_up_no_text(
    tmp_path: Path, receiver: Receiver, hung: Hung
) -> None:
    MediaFolder(tmp_path / "media").keep(PICTURE, "image/png")
    timings = WebhookTimings(file=0.05)
    async with gateway(tmp_path, receiver.url, files=hung, timings=timings) as it:
        put(it, received(1, content=None, sha256=NAME))
        media = await delivered(it, receiver)
    assert (media["data"], media["error"], media["sha256"]) == (None, NO_ANSWER, NAME)


class Refusing(MediaFolder):
    """The system opens no file now."""

    def _path(self, name: str) -> Path:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


async def test_a_file_that_cannot_be_read_now_is_not_called_gone(
    tmp_path: Path, receiver: Receiver
) -> None:
    async with gateway(tmp_path, receiver.url, files=Refusing(tmp_path / "media")) as it:
        put(it, received(1, content=None, sha256=NAME))
        media = await delivered(it, receiver)
    assert (media["data"], media["error"], media["sha256"]) == (None, NO_ANSWER, NAME)


async def test_a_file_that_the_page_did_not_give(tmp_path: Path, receiver: Receiver) -> None:
    async with gateway(tmp_path, receiver.url) as it:
        put(it, received(1, content=None, error="no answer within 15 s"))
        media = await delivered(it, receiver)
    assert (media["data"], media["error"]) == (None, "no answer within 15 s")


async def test_files_that_wait_for_the_database_are_bounded_and_texts_are_not(
    tmp_path: Path,
) -> None:
    limits = JournalLimits(waiting_bytes=4_000)
    async with gateway(tmp_path, None, opened=False, limits=limits) as it:
        for number in range(4):
            put(it, received(number))
        await it.store.open()
        assert await it.journal.flushed(10.0)
    errors = [one.payload()["message"]["media"]["error"] for one in it.news]
    assert errors[0] is None
    assert errors[1:] == [DEFERRED] * 3
    assert it.journal.backlog.bytes == 0


async def test_an_empty_file_is_a_file(tmp_path: Path, receiver: Receiver) -> None:
    async with gateway(tmp_path, receiver.url) as it:
        put(it, received(1, content=b""))
        media = await delivered(it, receiver)
    assert (media["data"], media["error"]) == ("", None)
    assert media["sha256"] == hashlib.sha256(b"").hexdigest()


async def test_no_send_waits_for_a_file_and_what_is_behind_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Hung(tmp_path / "media")
    try:
        async with gateway(tmp_path, None, files=disk) as it:
            order: list[str] = []
            it.journal.put((received(0, content=None),), lambda _: order.append("before"))
            it.journal.put((received(1),), lambda _: order.append("file"))
            it.journal.put((), lambda _: order.append("nothing"))
            it.journal.put((received(2, content=None),), lambda _: order.append("behind"))
            await wait_until(lambda: disk.asked, "the file is being written")
            await asyncio.wait_for(it.journal.keep(StateUpdate(id=1, state=State.SENDING)), 45.0)
            await wait_until(lambda: order, "what came before is stored")
            assert order == ["before"]
            assert not await it.journal.flushed(0.0)
            disk.answers.set()
            assert await it.journal.flushed(10.0)
            assert order == ["before", "file", "nothing", "behind"]
    finally:
        disk.answers.set()


async def test_files_that_are_on_their_way_at_the_end_are_stored(tmp_path: Path) -> None:
    async with gateway(tmp_path, None) as it:
        for number in range(5):
            put(it, received(number))
    assert [one.key for one in it.news] == [str(number) for number in range(5)]


async def test_a_bug_with_a_file_delays_the_file_and_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    def buggy(*_: Any) -> str:
        raise RuntimeError("a bug")

    async with gateway(tmp_path, None) as it:
        monkeypatch.setattr(it.journal.files, "keep", buggy)
        put(it, received(1))
        put(it, received(2, content=None))
        assert await it.journal.flushed(10.0)
    assert it.news[0].payload()["message"]["media"]["error"] == DEFERRED
    assert len(it.news) == 2
    assert any("a bug in waguard" in said for said in logged)


async def test_a_file_whose_webhook_waits_is_not_tidied_away(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.free.clear()
    keep = Media(keep_days=1, limit=1)
    async with gateway(tmp_path, receiver.url) as it:
        files = MediaFolder(tmp_path / "media")
        files.keep(b"x" * (1 << 20), "a/b")
        put(it, received(1))
        assert await it.journal.flushed(10.0)
        tomorrow = WallAges(lambda: time.time() + 2 * 86_400)
        assert await tidy_media(files, it.store.messages, keep, tomorrow) == 1
        receiver.free.set()
        media = await delivered(it, receiver)
        assert (media["error"], media["sha256"]) == (None, NAME)
        assert await it.drained()
        assert await tidy_media(files, it.store.messages, keep, tomorrow) == 1


async def test_a_file_that_comes_while_it_is_tidied_stays_for_its_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is there before its message is stored."""
    async with gateway(tmp_path, None) as it:
        files = MediaFolder(tmp_path / "media")
        old = files.keep(b"x" * (2 << 20), "a/b")
        long_ago = time.time() - 2 * 3_600
        for path in (tmp_path / "media").glob(f"??/{old}*"):
            os.utime(path, (long_ago, long_ago))
        asked = it.store.messages.files_awaited

        async def awaited() -> set[str]:
            found = await asked() | {old}
            files.keep(PICTURE, "a/b")
            return found

        monkeypatch.setattr(it.store.messages, "files_awaited", awaited)
        now = WallAges(time.time)
        assert await tidy_media(files, it.store.messages, Media(limit=1), now) == 0
        assert files.read(NAME) == PICTURE


async def test_while_the_database_does_not_say_what_waits_nothing_is_tidied_away(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path, None, opened=False) as it:
        files = MediaFolder(tmp_path / "media")
        files.keep(PICTURE, "a/b")
        in_a_year = WallAges(lambda: time.time() + 365 * 86_400)
        with pytest.raises(DatabaseUnavailableError):
            await tidy_media(files, it.store.messages, Media(), in_a_year)
        assert files.read(NAME) == PICTURE
        await it.store.open()
