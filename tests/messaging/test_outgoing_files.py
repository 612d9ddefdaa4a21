"""Large files to send beside what else the daemon writes."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.small_disk import remount, small_disk
from tests.waiting import DEADLINE, wait_until
from waguard.config.sections import Config
from waguard.core.messages.inbox import File
from waguard.host.files.media import MediaFolder
from waguard.messaging.file_stage import MediaWriter
from waguard.messaging.outbox.outgoing_files import THREADS, OutgoingFiles
from waguard.ports.clock import WallAges


class Slow(MediaFolder):
    """A disk that takes its time with each large file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.answers = threading.Event()
        self.asked = 0

    def place(self, draft: Path, name: str, mimetype: str) -> str:
        self.asked += 1
        self.answers.wait()
        return super().place(draft, name, mimetype)


async def nobody_waits() -> set[str]:
    return set()


async def piece(number: int) -> AsyncIterator[bytes]:
    yield bytes([number])


async def test_a_received_picture_waits_for_no_large_file(tmp_path: Path) -> None:
    disk = Slow(tmp_path / "outgoing")
    files = OutgoingFiles(disk, Config, nobody_waits, WallAges(time.time))
    few = ThreadPoolExecutor(THREADS)
    asyncio.get_running_loop().set_default_executor(few)
    sending = [
        asyncio.create_task(files.receive(piece(it), "a/b", declared=1, field="body"))
        for it in range(2 * THREADS)
    ]
    try:
        await wait_until(lambda: disk.asked == THREADS, "so many are written at once")
        writer = MediaWriter(MediaFolder(tmp_path / "media"), deadline=DEADLINE)
        assert await writer.write(File(content=b"a picture", mimetype="image/png"))
        assert disk.asked == THREADS
    finally:
        disk.answers.set()
    assert len({it.name for it in await asyncio.gather(*sending)}) == 2 * THREADS
    files.close()


async def test_a_received_picture_waits_for_no_common_thread(tmp_path: Path) -> None:
    goes_on = threading.Event()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    busy = asyncio.create_task(asyncio.to_thread(goes_on.wait, DEADLINE))
    try:
        writer = MediaWriter(MediaFolder(tmp_path / "media"), deadline=5.0)
        assert await writer.write(File(content=b"a picture", mimetype="image/png"))
    finally:
        goes_on.set()
        await busy


async def test_one_on_a_read_only_disk_can_be_sent(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        files = OutgoingFiles(
            MediaFolder(disk / "outgoing"), Config, nobody_waits, WallAges(time.time)
        )
        kept = await files.receive(piece(1), "a/b", declared=1, field="body")
        remount(disk, "ro")
        assert await files.find(kept.name) == kept
        files.close()
