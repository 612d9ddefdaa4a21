"""A daemon whose workers have no browser: they say that they are connected, their heartbeat goes on, and
each text that they are to send is sent. One that begins with ``flood`` has the worker's page report 65 kB
at a time instead, as fast as it is read: ``flood message 5`` messages for 5 s, ``flood edit 5`` what is no message.

python bench/simulated.py daemon     the real daemon, with such workers; WAGUARD_… as always
python bench/simulated.py FD         their fork server
"""

import asyncio
import itertools
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from waguard.config.reading import load
from waguard.core.link import Link
from waguard.host.process.departure import leave
from waguard.wire.calls import SendText, Sent, Value
from waguard.wire.events import Edit, InboundMessage
from waguard.wire.protocol import PROTOCOL, Hello, Reply, Request
from waguard.wire.reports import Heartbeat, Report
from waguard.wire.worker import WorkerSpec

if TYPE_CHECKING:
    from waguard.worker.link.daemon_link import DaemonLink
    from waguard.worker.page.report_gate import ReportGate

PATIENT = 300.0  # s
FLOOD = "flood "
REPORTED = "x" * 65_000
FRIEND, OWN = "6281234567890@c.us", "6281234567891@c.us"


def job(spec: WorkerSpec) -> int:
    """One worker."""
    return asyncio.run(_live(spec))


async def _flood(link: "DaemonLink", gate: "ReportGate", kind: str, seconds: float) -> None:
    """What a real page's reports become, within the same bounds."""
    end = time.monotonic() + seconds
    for number in itertools.count():
        if time.monotonic() > end:
            return
        wait = gate.wait(kind, len(REPORTED))
        at, which = int(time.time()), f"false_{FRIEND}_{os.getpid()}{time.monotonic_ns()}{number}"
        if wait is not None and kind == "edit":
            link.event(
                Edit(
                    id=which,
                    chat=FRIEND,
                    sender=FRIEND,
                    timestamp=at,
                    message_id=which,
                    body=REPORTED,
                )
            )
        elif wait is not None:
            link.event(
                InboundMessage(
                    id=which,
                    chat=FRIEND,
                    sender=FRIEND,
                    to=OWN,
                    body=REPORTED,
                    timestamp=at,
                    from_me=False,
                    kind="chat",
                )
            )
        await link.room()
        await asyncio.sleep(wait or 0.001)


async def _live(spec: WorkerSpec) -> int:
    # the fork server has them; a real daemon has not
    from waguard.worker.lease_end import Deadline  # noqa: PLC0415
    from waguard.worker.link.daemon_link import DaemonLink  # noqa: PLC0415
    from waguard.worker.link.heartbeat_slot import HeartbeatSlot  # noqa: PLC0415
    from waguard.worker.page.report_gate import ReportGate  # noqa: PLC0415

    gate, floods = ReportGate(), set[asyncio.Task[None]]()

    async def agree(request: Request) -> Reply:
        outcome: Sent | Value = Value()
        if isinstance(request.call, SendText) and request.call.text.startswith(FLOOD):
            _, kind, seconds = request.call.text.split()
            floods.add(asyncio.create_task(_flood(link, gate, kind, float(seconds))))
        if isinstance(request.call, SendText):
            sent = request.call.message_id
            outcome = Sent(outcome="sent", message_id=sent, timestamp=int(time.time()))
        return Reply(id=request.id, outcome=outcome)

    hello = Hello(
        protocol=PROTOCOL, instance=spec.instance, session=spec.session, generation=spec.generation
    )
    deadline = Deadline()
    deadline.move(spec.lent_until)
    link = DaemonLink(hello, lend=deadline.move, write=HeartbeatSlot(spec, deadline).write)
    server = await link.listen(Path(spec.socket), agree)
    os.write(1, b"listening\n")
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, link.stop_asked.set)
    link.report(
        Report(
            session=spec.session,
            generation=spec.generation,
            phase="ready",
            link=Link.CONNECTED,
            phone=spec.session.removeprefix("s"),
            browser_pid=os.getpid(),  # else the executable is tried after its death, for the evidence
            obeys=deadline.works,
        )
    )
    while not link.stop_asked.is_set():
        link.heartbeat(Heartbeat(devtools=0.001, page=0.001))
        try:
            async with asyncio.timeout(spec.heartbeat):
                await link.stop_asked.wait()
        except TimeoutError:
            continue
    link.report(
        Report(session=spec.session, generation=spec.generation, phase="closing", link=Link.UNKNOWN)
    )
    server.close()
    await link.close()
    return 0


async def _daemon() -> int:
    from waguard.host.files.lock import acquire  # noqa: PLC0415
    from waguard.host.process import garbage  # noqa: PLC0415 - the workers need nothing of it
    from waguard.host.process.fork_server import Deadlines, ForkSpawn  # noqa: PLC0415
    from waguard.host.system import logs  # noqa: PLC0415 - the workers need nothing of it
    from waguard.host.system.api_port import ApiPort  # noqa: PLC0415
    from waguard.host.system.listen import base_url, listen  # noqa: PLC0415

    with garbage.importing():  # as the command line does it
        from waguard.daemon.root import Daemon  # noqa: PLC0415

    settings = load(None, os.environ)
    lock = acquire(settings.paths.runtime)
    listener = listen(settings.api.host, settings.api.port)
    lock.publish(base_url(listener))
    logs.configure(settings.log.level, settings.log.format)
    # without its server it would execute workers, which have browsers
    spawn = ForkSpawn((str(Path(__file__)),), Deadlines(start=PATIENT, answer=PATIENT))
    spawn.start()
    try:
        return await Daemon(settings, lock, ApiPort(listener), None, spawn).run()
    finally:
        await spawn.close()
        lock.release()


if __name__ == "__main__":
    if sys.argv[1] == "daemon":
        leave(asyncio.run(_daemon()))
    from waguard.worker import fork_server

    fork_server.main(job)
