"""The worker's process: its instructions, its signals, its exit code."""

import asyncio
import os
import signal
import sys

import msgspec
from loguru import logger

from waguard.core.exits import EXIT_BAD_SPEC, EXIT_PROFILE_HELD
from waguard.host.small_file import UnreadableError
from waguard.host.system import logs
from waguard.wire.worker import WorkerSpec
from waguard.worker.lifecycle import SessionWorker


def main() -> int:
    """``python -m waguard.worker SESSION < spec.json``: exit code."""
    os.umask(0o077)
    try:
        spec = msgspec.json.decode(sys.stdin.buffer.read(), type=WorkerSpec)
    except msgspec.DecodeError as error:
        sys.stderr.write(f"waguard.worker: its instructions (JSON on stdin) are wrong: {error}\n")
        return EXIT_BAD_SPEC
    return work(spec)


def work(spec: WorkerSpec) -> int:
    """Serve one session to its end: the exit code."""
    logs.configure(spec.log.level, spec.log.format)
    try:
        with logger.contextualize(session=spec.session, worker=os.getpid()):
            return asyncio.run(_run(spec))
    finally:
        logs.flush()


async def _run(spec: WorkerSpec) -> int:
    try:
        worker = SessionWorker(spec)
    except (UnreadableError, OSError) as error:
        logger.error(
            "unstored events cannot be read now: the worker is to be started again",
            event="unstored_unreadable",
            why=str(error),
        )
        return EXIT_PROFILE_HELD
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop.set)
    return await worker.run()
