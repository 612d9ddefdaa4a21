"""The runtime folder, the socket in it, and the port."""

import http.client
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from waguard.config.sections import Config
from waguard.doctor.checks.instance import Instance, PidFile, Port, Socket
from waguard.doctor.probes.machine import Machine
from waguard.host import small_file
from waguard.host.files import lock
from waguard.host.process import procfs
from waguard.host.system import machine as machines
from waguard.host.system.listen import LOCAL_SOCKET

LIMIT: Final = 8 << 20  # bytes of an answer


class Daemon:
    """Questions to the daemon on its Unix socket, as root or as its user. Blocks."""

    def __init__(self, runtime: Path, *, within: float) -> None:
        """``within``: s for an answer."""
        self._path = runtime / LOCAL_SOCKET
        self._within = within

    def ask(self, path: str) -> Mapping[str, Any] | None:
        """The answer to GET ``path``; None: there is none that can be used. Raises ``OSError``,
        ``TimeoutError`` where nobody answers at all."""
        connection = http.client.HTTPConnection("localhost")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(self._within)
            link.connect(str(self._path))
            connection.sock = link
            connection.request("GET", path)
            try:
                response = connection.getresponse()
                content = response.read(LIMIT)
            except http.client.HTTPException:
                return None
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            return None
        good = response.status == http.client.OK and isinstance(answer, dict)
        return answer if good else None


def instance(machine: Machine, runtime: Path, *, within: float) -> Instance:
    """Who has the runtime folder. ``within``: s for the daemon to answer."""
    try:
        os.scandir(runtime).close()
    except PermissionError:
        return Instance(runtime=str(runtime), socket=Socket.DENIED)
    except OSError:
        pass  # it is not there, or no folder: what follows finds nothing
    pid_file, found = _pid_file(runtime)
    holder = machine.locked_by(runtime / lock.LOCK_FILE)
    return Instance(
        runtime=str(runtime),
        pid_file=pid_file,
        pid=found.pid if found else holder,
        api=found.api if found else None,
        locked=holder is not None,
        holder=holder,
        socket=_socket(runtime, within),
        machine=machines.machine(),
        age=machine.age(found.pid if found else holder),
    )


def _pid_file(runtime: Path) -> tuple[PidFile, lock.PidFile | None]:
    try:
        found = lock.decoded(runtime / lock.PID_FILE)
    except FileNotFoundError:
        return PidFile.ABSENT, None
    except small_file.UnreadableError:
        return PidFile.UNREADABLE, None
    lives = procfs.is_same(found.pid, found.start_time, found.boot_id)
    return PidFile.LIVING if lives else PidFile.DEAD, found


def _socket(runtime: Path, within: float) -> Socket:
    try:
        Daemon(runtime, within=within).ask("/health/live")
    except ConnectionRefusedError:
        return Socket.REFUSED
    except TimeoutError:
        return Socket.SILENT
    except OSError:
        return Socket.ABSENT
    return Socket.ANSWERS


def port(machine: Machine, config: Config, daemon: Instance) -> Port:
    """The port of the API. With a daemon that runs nothing is bound."""
    host, number = config.api.host, config.api.port
    if not number:
        return Port(host=host, port=number, taken=False)
    holders = machine.listeners(number)
    # seen after the listeners: a daemon may have started since ``daemon`` was seen
    holder = machine.locked_by(config.paths.runtime / lock.LOCK_FILE)
    taken, refusal = machine.taken(host, number)
    pid = next(iter(holders), None)
    return Port(
        host=host,
        port=number,
        taken=taken or pid is not None,
        pid=pid,
        command=" ".join(procfs.command_line(pid)) if pid else "",
        ours=not {holder, daemon.pid, daemon.holder}.isdisjoint(holders),
        refusal=None if daemon.up else refusal,
    )
