"""A worker's end, as a process: what it answers, keeps and logs before it leaves."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.host.processes import clean_environment, worker_spec
from tests.waiting import DEADLINE, wait_until
from waguard.core.exits import EXIT_LEASE_EXPIRED
from waguard.supervision.session.worker_link import WorkerLink
from waguard.supervision.timings import Timings
from waguard.wire.events import Ack, Event, LoggedOut
from waguard.wire.protocol import PROTOCOL, Hello
from waguard.wire.reports import Heartbeat, Report
from waguard.worker.lifecycle import SessionWorker
from waguard.worker.link.unstored import UnstoredEvents

EARLIER = [Event(seq=1, at=1.0, body=LoggedOut(reason="it was unlinked"))]
# a worker in whose place much is logged, and a thread goes on
QUICK = """
import asyncio, threading, time
from loguru import logger
from waguard.host.process.departure import leave
from waguard.worker import main

class Quick:
    def __init__(self, spec):
        self.stop = asyncio.Event()

    async def run(self):
        for _ in range(500):
            logger.warning("the same again", event="library")
        threading.Thread(target=time.sleep, args=(600,)).start()
        return 7

main.SessionWorker = Quick
leave(main.main())
"""


async def test_it_answers_a_stop_at_once_and_keeps_what_no_daemon_stored(short_path: Path) -> None:
    script = short_path / "chromium"
    script.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo Chromium 156.0.1.2 && exit\nexec sleep 600\n'
    )
    script.chmod(0o700)
    spec = worker_spec(short_path, executable=str(script), launch_timeout=10 * DEADLINE)
    kept = UnstoredEvents(Path(spec.record), spec.generation)
    kept.write(EARLIER)
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "waguard.worker", spec.session),
        env=clean_environment(spec.marks()),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    said: list[Report | Heartbeat | Event] = []
    try:
        async with asyncio.timeout(DEADLINE):
            assert worker.stdin
            assert worker.stdout
            worker.stdin.write(msgspec.json.encode(spec))
            worker.stdin.close()
            assert await worker.stdout.readline() == b"listening\n"
            hello = Hello(
                protocol=PROTOCOL,
                instance=spec.instance,
                session=spec.session,
                generation=spec.generation,
            )
            link = await WorkerLink.connect(Path(spec.socket), hello, said.append, Timings())
            listening = asyncio.create_task(link.listen())
            await wait_until(lambda: any(isinstance(it, Event) for it in said), "it was greeted")
            worker.send_signal(signal.SIGTERM)
            await wait_until(
                lambda: any(isinstance(it, Report) and it.phase == "closing" for it in said),
                "it says that it closes",
            )
            _, log = await worker.communicate()
            await listening
    finally:
        if worker.returncode is None:
            worker.kill()
            await worker.wait()
    assert worker.returncode == 0
    assert [event.body for event in kept.read()] == [event.body for event in EARLIER]
    assert "event=unstored_kept" in log.decode().splitlines()[-1], "its last line is there"
    last = [it for it in said if isinstance(it, Report)][-1]
    assert (last.phase, last.exit_code) == ("closing", 0)
    assert not Path(spec.record).exists()
    assert not Path(spec.socket).exists()


@pytest.mark.parametrize("by", ["stop", "lease"])
async def test_what_waits_in_it_is_kept_too(
    by: str, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ack or a reaction that waits for a file, or for a backfill, comes back by nothing."""
    spec = worker_spec(short_path, executable="/bin/false")
    worker = SessionWorker(spec)
    inbound, kept = worker._ctx.inbound, UnstoredEvents(Path(spec.record), spec.generation)
    given = {"chat": "49170@c.us", "ack": 3}
    inbound.handle("ack", given | {"ids": ["true_49170@c.us_1"]})
    kept_first = list[Event]()

    def close() -> None:
        kept_first.extend(kept.read())
        inbound.handle("ack", given | {"ids": ["true_49170@c.us_2"]})

    worker._closing.callback(close)
    if by == "lease":
        monkeypatch.setattr(worker._ctx.deadline, "near", lambda: asyncio.sleep(0))
    else:
        worker.stop.set()
    code = await worker.run()
    assert code == (EXIT_LEASE_EXPIRED if by == "lease" else 0)
    assert [it.body.ids[0][-1] for it in kept.read() if isinstance(it.body, Ack)] == ["1", "2"]
    assert len(kept_first) == (by == "lease"), "the kernel does not wait for the end"


async def test_files_that_cannot_be_removed_change_no_exit_code(short_path: Path) -> None:
    """The runtime folder may be read-only by then."""
    spec = worker_spec(short_path, executable="/bin/false")
    worker = SessionWorker(spec)
    record = Path(spec.record)
    unstored = record.with_name(f"{record.stem}.{spec.generation}.unstored")

    def close() -> None:
        for path in (unstored, record, Path(spec.socket)):
            path.unlink(missing_ok=True)
            path.mkdir()

    worker._closing.callback(close)
    worker.stop.set()
    assert await worker.run() == 0
    assert all(path.is_dir() for path in (unstored, record))


def test_its_log_is_complete_and_a_thread_that_hangs_does_not_hold_it(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", QUICK],
        env=clean_environment(),
        input=msgspec.json.encode(worker_spec(tmp_path)),
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )
    assert ended.returncode == 7
    lines = ended.stderr.decode().splitlines()
    assert "repeated=499" in lines[-1], "what was folded is said at the end"
