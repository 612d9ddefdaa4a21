"""The socket and the record by which a daemon finds this worker."""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Self

import msgspec
from loguru import logger

from waguard.host.process import procfs
from waguard.host.system import logs
from waguard.wire.protocol import PROTOCOL
from waguard.wire.worker import WorkerRecord, WorkerSpec
from waguard.worker.link.daemon_link import Answer, DaemonLink


class Listening:
    """As long as the worker."""

    def __init__(
        self, spec: WorkerSpec, daemon: DaemonLink, answer: Answer, server: asyncio.Server
    ) -> None:
        self._spec = spec
        self._daemon = daemon
        self._answer = answer
        self._server = server

    @classmethod
    async def begin(cls, spec: WorkerSpec, daemon: DaemonLink, answer: Answer) -> Self:
        """Listen, and write the record. ``answer``: the daemon's requests."""
        server = await daemon.listen(Path(spec.socket), answer)
        _write_record(spec)
        return cls(spec, daemon, answer, server)

    async def stay_reachable(self) -> None:
        """Return never; the runtime folder may be removed, and its daemon creates it again: without
        socket and record the next daemon could not adopt this worker."""
        spec = self._spec
        ours = (Path(spec.socket), Path(spec.record))
        while True:
            await asyncio.sleep(spec.heartbeat)
            logs.tick()
            if all(path.exists() for path in ours) or not ours[0].parent.is_dir():
                continue
            try:
                before = self._server
                self._server = await self._daemon.listen(ours[0], self._answer)
                before.close()  # its connections go on
                _write_record(spec)
                logger.warning(
                    "socket and record were removed and are there again", event="socket_removed"
                )
            except OSError as error:
                logger.error(
                    "another daemon cannot reach this worker",
                    event="socket_not_made",
                    why=error.strerror,
                )

    async def end(self) -> None:
        """Hang up, and let nobody connect any more."""
        self._server.close()
        await self._daemon.close()

    def remove(self) -> None:
        """There is no worker any more. A file that cannot be removed is as a killed worker leaves it."""
        for path in (self._spec.record, self._spec.socket):
            with contextlib.suppress(OSError):
                Path(path).unlink()


def _write_record(spec: WorkerSpec) -> None:
    pid = os.getpid()
    record = WorkerRecord(
        pid=pid,
        start_time=procfs.start_time(pid) or 0,
        boot_id=procfs.boot_id(),
        instance=spec.instance,
        session=spec.session,
        generation=spec.generation,
        profile=spec.profile,
        socket=spec.socket,
        protocol=PROTOCOL,
    )
    draft = Path(spec.record + ".new")
    draft.write_bytes(msgspec.json.encode(record))
    draft.replace(spec.record)
