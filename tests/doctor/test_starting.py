"""The doctor beside a daemon that has its lock and its port, and does not answer yet."""

import os
import socket
from pathlib import Path

from tests.host.processes import program
from waguard.config.sections import Api, Config, Paths
from waguard.doctor.checks import instance as checks
from waguard.doctor.probes import instance as probes
from waguard.doctor.probes.machine import Machine
from waguard.host.files.lock import acquire


def test_the_port_of_a_daemon_that_starts_is_its_own(short_path: Path) -> None:
    runtime = short_path / "run"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        config = Config(paths=Paths(runtime=runtime), api=Api(port=port))
        machine = Machine()
        nobody = probes.instance(machine, runtime, within=1.0)
        lock = acquire(runtime)
        try:
            # the first one: it began after the lock was looked at
            for daemon in (nobody, probes.instance(machine, runtime, within=1.0)):
                assert not daemon.up
                seen = probes.port(machine, config, daemon)
                assert seen.pid == os.getpid()
                assert checks.port(seen, daemon).result == "ok"
        finally:
            lock.release()
        seen = probes.port(machine, config, nobody)
        assert checks.port(seen, nobody).command == f"kill {os.getpid()}"


DAEMON = """
import sys; from pathlib import Path; from waguard.host.files.lock import acquire
lock = acquire(Path(sys.argv[1])); print("ready", flush=True); input()
"""


def test_as_root_one_sees_the_copy_of_the_daemons_socket_that_systemd_keeps(
    short_path: Path,
) -> None:
    """This process does what systemd does, and has a lower pid as systemd has."""
    runtime, machine = short_path / "run", Machine()
    with socket.create_server(("127.0.0.1", 0)) as kept:
        config = Config(paths=Paths(runtime=runtime), api=Api(port=kept.getsockname()[1]))
        with program(DAEMON, str(runtime), pass_fds=[kept.fileno()]) as other:
            daemon = probes.instance(machine, runtime, within=1.0)
            seen = probes.port(machine, config, daemon)
    assert daemon.holder == other.pid
    assert checks.port(seen, daemon).result == "ok"
