"""Other supervisors, each with the least delay before a restart that it allows and no limit to restarts; what
else they do is as shipped. They are installed below ``tools`` when they are first asked for.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar

from bench.rig import environment
from bench.supervisors.fleet import Fleet, descendants, gone

# a shell that becomes another program: whoever ignores a signal goes on to ignore it
WORKER = """#!/bin/sh
export BENCH_LINES={lines}
[ ! -e {folder}/stubborn-$1 ] || trap '' TERM
echo $1 $$ >>{lines}
exec sleep 1000000
"""


def run(*command: str | Path, environ: Mapping[str, str] | None = None) -> str:
    """What a command prints; raises where it fails."""
    done = subprocess.run(
        command, env=environ or environment(), check=True, text=True, capture_output=True
    )
    return done.stdout


class Peer(Fleet):
    """A supervisor that is a program in the foreground and ends at SIGTERM."""

    def __init__(self, folder: Path, count: int, tools: Path) -> None:
        super().__init__(folder, count)
        self.tools = tools / type(self).__name__.lower()
        self.worker = self.file(
            "worker", WORKER.format(lines=self.lines, folder=folder), mode=0o755
        )
        self._process: asyncio.subprocess.Process | None = None

    @abstractmethod
    def install(self) -> None:
        """Below ``tools``, whose folder is there."""

    @abstractmethod
    def configure(self) -> list[str | Path]:
        """Write what it needs; how it is run."""

    def file(self, name: str, text: str, mode: int = 0o600) -> Path:
        """A file in its folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    @property
    def root(self) -> int:
        assert self._process
        return self._process.pid

    def environment(self) -> dict[str, str]:
        return environment(BENCH_LINES=str(self.lines))

    async def prepare(self) -> None:
        done = self.tools / "installed"
        if not done.exists():
            self.tools.mkdir(parents=True, exist_ok=True)
            await asyncio.to_thread(self.install)
            done.touch()
        self._command = self.configure()

    async def begin(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=self.folder,
                env=self.environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def end(self) -> None:
        assert self._process
        self._process.terminate()
        await self._process.wait()


class Floor(Peer):
    """``floor.py``."""

    label = "floor"

    def install(self) -> None:
        pass

    def configure(self) -> list[str | Path]:
        return [sys.executable, "-P", Path(__file__).with_name("floor.py"), *self.names]


class _Pip(Peer):
    package: ClassVar[str]

    def install(self) -> None:
        run(sys.executable, "-m", "venv", self.tools)
        run(self.tools / "bin/pip", "install", "--quiet", self.package)


class Supervisord(_Pip):
    """Looks each second."""

    label, package = "supervisord", "supervisor"

    def configure(self) -> list[str | Path]:
        program = (
            "[program:{name}]\ncommand={worker} {name}\nautorestart=true\nstartsecs=0\n"
            "stdout_logfile=NONE\nstderr_logfile=NONE\n"
        )
        head = f"[supervisord]\nlogfile={self.folder}/log.txt\npidfile={self.folder}/pid\n"
        programs = [program.format(name=name, worker=self.worker) for name in self.names]
        file = self.file("conf", "".join([head, *programs]))
        return [self.tools / "bin/supervisord", "--nodaemon", "--configuration", file]


class Circus(_Pip):
    """As shipped: looks each 5 s."""

    label, package, every = "Circus", "circus", 5.0

    def configure(self) -> list[str | Path]:
        head = (
            f"[circus]\ncheck_delay={self.every}\nendpoint=ipc://{self.folder}/a\n"
            f"pubsub_endpoint=ipc://{self.folder}/b\n"
        )
        watcher = "[watcher:{name}]\ncmd={worker}\nargs={name}\ncopy_env=True\nmax_retry=-1\n"
        watchers = [watcher.format(name=name, worker=self.worker) for name in self.names]
        return [self.tools / "bin/circusd", self.file("conf", "".join([head, *watchers]))]


class Circus10ms(Circus):
    """Looks as often as it takes to be quick."""

    label, every = "Circus, each 10 ms", 0.01


class Pm2(Peer):
    """Its command starts a daemon, and that the workers."""

    label = "PM2"

    def install(self) -> None:
        run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", self.tools, "pm2")

    def environment(self) -> dict[str, str]:
        return super().environment() | {"PM2_HOME": str(self.folder / "pm2")}

    def configure(self) -> list[str | Path]:
        common = {
            "script": str(self.worker),
            "interpreter": "none",
            "max_restarts": 1_000_000,
            "out_file": "/dev/null",
            "error_file": "/dev/null",
            "vizion": False,
        }
        apps = [common | {"name": name, "args": [name]} for name in self.names]
        file = self.file("apps.json", json.dumps({"apps": apps}))
        return [self.tools / "node_modules/.bin/pm2", "start", file]

    @property
    def root(self) -> int:
        return int((self.folder / "pm2/pm2.pid").read_text())

    async def end(self) -> None:
        os.kill(self.root, signal.SIGTERM)


class _Apt(Peer):
    packages: tuple[str, ...]

    def install(self) -> None:
        subprocess.run(
            ["apt-get", "--quiet", "download", *self.packages],
            cwd=self.tools,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        for package in self.tools.glob("*.deb"):
            run("dpkg", "--extract", package, self.tools)

    def environment(self) -> dict[str, str]:
        environ = super().environment()
        libraries = [str(path) for path in self.tools.glob("usr/lib/*-linux-gnu")]
        environ["LD_LIBRARY_PATH"] = ":".join(libraries)
        environ["PATH"] = f"{self.tools}/usr/bin:{environ['PATH']}"
        return environ


class S6(_Apt):
    """One process more for each worker."""

    label = "s6"
    packages: tuple[str, ...] = (
        "s6",
        "libs6-2.13",
        "libskarnet2.14t64",
        "libexecline2.9",
        "execline",
    )

    def configure(self) -> list[str | Path]:
        for name in self.names:
            self.file(f"scan/{name}/run", f"#!/bin/sh\nexec {self.worker} {name}\n", mode=0o755)
        return ["s6-svscan", self.folder / "scan"]


class Monit(_Apt):
    """Looks each second for pid files, and starts what daemonizes; ends without its workers, which are stopped
    by a command before."""

    label = "monit"
    packages: tuple[str, ...] = ("monit",)

    def configure(self) -> list[str | Path]:
        start = self.file(
            "start", f"#!/bin/sh\nsetsid {self.worker} $1 & echo $! >{self.folder}/$1.pid\n", 0o755
        )
        stop = self.file("stop", f"#!/bin/sh\nkill $(cat {self.folder}/$1.pid)\n", 0o755)
        head = (
            f"set daemon 1\nset httpd unixsocket {self.folder}/socket\nallow localhost\nset pidfile {self.folder}/pid\n"
            f"set statefile {self.folder}/state\nset idfile {self.folder}/id\nset limits {{ stopTimeout: 5 s }}\n"
        )
        check = 'check process {0} with pidfile {1}/{0}.pid\nstart program = "{2} {0}"\nstop program = "{3} {0}"\n'
        checks = [check.format(name, self.folder, start, stop) for name in self.names]
        self._file = self.file("conf", "".join([head, *checks]))
        return ["monit", "-I", "-c", self._file]

    async def end(self) -> None:
        command = partial(run, "monit", "-c", self._file, "stop", "all", environ=self.environment())
        await asyncio.to_thread(command)
        await gone(self.pids.values())
        await super().end()


class Systemd(Peer):
    """One that boots in namespaces of its own, as the tests of the unit have it."""

    label, lasts = "systemd", True

    def install(self) -> None:
        pass

    def configure(self) -> list[str | Path]:
        from tests.systemd.namespace import missing, systemd_namespace  # noqa: PLC0415

        if why := missing():
            raise RuntimeError(why)
        self._stack = contextlib.ExitStack()
        self._systemd = self._stack.enter_context(
            systemd_namespace({self.folder: str(self.folder)})
        )
        unit = f"[Service]\nExecStart={self.worker} %i\nRestart=always\nRestartSec=0\n[Unit]\nStartLimitIntervalSec=0\n"
        self._systemd.put("/etc/systemd/system/bench@.service", unit)
        self._systemd.systemctl("daemon-reload")
        return []

    @property
    def root(self) -> int:
        return self._systemd._pid  # noqa: SLF001

    def seen(self) -> dict[str, int]:
        outside = {}
        for pid in descendants(self.root):
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{pid}/status").read_text()
                outside[int(re.findall(r"^NSpid:.*\t(\d+)$", status, re.MULTILINE)[0])] = pid
        return {name: outside[pid] for name, pid in self.pids.items()}

    async def begin(self) -> None:
        units = [f"bench@{name}" for name in self.names]
        await asyncio.to_thread(self._systemd.systemctl, "start", *units)

    async def end(self) -> None:
        await asyncio.to_thread(self._systemd.systemctl, "stop", "bench@*")

    async def close(self) -> None:
        self._stack.close()
        await super().close()


PEERS: dict[str, type[Peer]] = {
    one.__name__.lower(): one
    for one in (Floor, S6, Pm2, Supervisord, Circus, Circus10ms, Systemd, Monit)
}
