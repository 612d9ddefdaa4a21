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
from pathlib import Path

from bench.rig import environment, tree
from bench.supervisors.fleet import Fleet, gone

# a shell that becomes another program: whoever ignores a signal goes on to ignore it
WORKER = """#!/bin/sh
export BENCH_LINES={0}/lines
[ ! -e {0}/stubborn-$1 ] || trap '' TERM
echo $1 $$ >>{0}/lines
exec sleep 1000000
"""


def run(
    *command: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> None:
    """Raises where it fails, with what it said."""
    done = subprocess.run(command, cwd=cwd, env=env, text=True, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.strip() or done.stdout.strip()}")


class Peer(Fleet):
    """A program in the foreground, which ends at SIGTERM."""

    pip: str | None = None
    npm: str | None = None
    apt: tuple[str, ...] = ()

    def __init__(self, folder: Path, count: int, tools: Path) -> None:
        super().__init__(folder, count)
        self.tools = tools / "-".join((self.pip or self.npm or "apt", *self.apt))
        self.worker = self.file("worker", WORKER.format(folder), 0o755)
        self._process: asyncio.subprocess.Process | None = None

    @abstractmethod
    def command(self) -> list[str | Path]:
        """How it is run, with its configuration written."""

    def each(self, text: str) -> str:
        """A text for each worker: {0} its name, {1} its command, {2} the folder."""
        return "".join(text.format(name, self.worker, self.folder) for name in self.names)

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

    @property
    def environment(self) -> dict[str, str]:
        """With its own programs and libraries first."""
        libraries = ":".join(map(str, self.tools.glob("usr/lib/*-linux-gnu")))
        path = f"{self.tools}/bin:{self.tools}/node_modules/.bin:{self.tools}/usr/bin:{os.environ['PATH']}"
        mine = {"BENCH_LINES": str(self.lines), "PM2_HOME": str(self.folder / "pm2")}
        return environment(PATH=path, LD_LIBRARY_PATH=libraries, **mine)

    def install(self) -> None:
        """Once for all runs."""
        if self.tools.exists():
            return
        with contextlib.ExitStack() as undo:
            undo.callback(lambda: run("rm", "-rf", self.tools))
            self.tools.mkdir(parents=True)
            if self.pip:
                run(sys.executable, "-m", "venv", self.tools)
                run(self.tools / "bin/pip", "install", "--quiet", self.pip)
            if self.npm:
                quiet = ("--silent", "--no-fund", "--no-audit")
                run("npm", "install", *quiet, "--prefix", self.tools, self.npm)
            if self.apt:
                run("apt-get", "download", *self.apt, cwd=self.tools)
            for package in self.tools.glob("*.deb"):
                run("dpkg", "--extract", package, self.tools)
            undo.pop_all()

    async def prepare(self) -> None:
        await asyncio.to_thread(self.install)
        self._command = self.command()

    async def begin(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    async def end(self) -> None:
        os.kill(self.root, signal.SIGTERM)


class Floor(Peer):
    """``floor.py``."""

    def command(self) -> list[str | Path]:
        return [sys.executable, "-P", Path(__file__).with_name("floor.py"), *self.names]


class Supervisord(Peer):
    """Looks each second."""

    pip: str | None = "supervisor"

    def command(self) -> list[str | Path]:
        program = (
            "[program:{0}]\ncommand={1} {0}\nautorestart=true\nstartsecs=0\n"
            "stdout_logfile=NONE\nstderr_logfile=NONE\n"
        )
        head = f"[supervisord]\nlogfile={self.folder}/text\npidfile={self.folder}/pid\n"
        return ["supervisord", "-n", "-c", self.file("conf", head + self.each(program))]


class Circus(Peer):
    """Looks each 5 s, as shipped."""

    pip: str | None = "circus"
    every = 5.0

    def command(self) -> list[str | Path]:
        head = (
            f"[circus]\ncheck_delay={self.every}\nendpoint=ipc://{self.folder}/a\n"
            f"pubsub_endpoint=ipc://{self.folder}/b\n"
        )
        watcher = "[watcher:{0}]\ncmd={1}\nargs={0}\ncopy_env=True\nmax_retry=-1\n"
        return ["circusd", self.file("conf", head + self.each(watcher))]


class Circus10ms(Circus):
    """Looks as often as it takes to be quick."""

    every = 0.01


class Pm2(Peer):
    """Its command starts a daemon, and that the workers."""

    npm: str | None = "pm2"

    def command(self) -> list[str | Path]:
        common = {"script": str(self.worker), "interpreter": "none", "max_restarts": 1_000_000}
        common |= {"out_file": "/dev/null", "error_file": "/dev/null", "vizion": False}
        apps = [common | {"name": name, "args": [name]} for name in self.names]
        return ["pm2", "start", self.file("apps.json", json.dumps({"apps": apps}))]

    @property
    def root(self) -> int:
        return int((self.folder / "pm2/pm2.pid").read_text())


class S6(Peer):
    """One process more for each worker."""

    apt: tuple[str, ...] = ("s6", "libs6-2.13", "libskarnet2.14t64", "libexecline2.9", "execline")

    def command(self) -> list[str | Path]:
        for name in self.names:
            # who has said that it is ready is started again without a second's pause
            ready = "echo >&3; exec 3>&-; exec"
            self.file(f"scan/{name}/run", f"#!/bin/sh\n{ready} {self.worker} {name}\n", 0o755)
            self.file(f"scan/{name}/notification-fd", "3\n")
        # it starts /usr/bin/s6-supervise, wherever it lies itself
        mount = "mount -t overlay overlay -o lowerdir=$0/usr/bin:/usr/bin /usr/bin"
        script = f"{mount} && exec s6-svscan $1"
        return ["unshare", "--mount", "sh", "-c", script, self.tools, self.folder / "scan"]


class Monit(Peer):
    """Looks each second for pid files, and starts what daemonizes; its workers are stopped by a command."""

    apt: tuple[str, ...] = ("monit",)

    def command(self) -> list[str | Path]:
        worker = f"setsid {self.worker} $1 & echo $! >{self.folder}/$1.pid"
        self.file("start", f"#!/bin/sh\n{worker}\n", 0o755)
        self.file("stop", f"#!/bin/sh\nkill $(cat {self.folder}/$1.pid)\n", 0o755)
        head = (
            "set daemon 1\nset httpd unixsocket {0}/socket\nallow localhost\nset pidfile {0}/pid\n"
            "set statefile {0}/state\nset idfile {0}/id\n"
        ).replace("{0}", str(self.folder))
        check = (
            "check process {0} with pidfile {2}/{0}.pid\n"
            'start program = "{2}/start {0}"\nstop program = "{2}/stop {0}"\n'
        )
        return ["monit", "-I", "-c", self.file("conf", head + self.each(check))]

    async def begin(self) -> None:
        (self.folder / "state").unlink(missing_ok=True)  # who was stopped stays stopped
        await super().begin()

    async def end(self) -> None:
        command = "monit", "-c", self.folder / "conf", "stop", "all"
        await asyncio.to_thread(run, *command, env=self.environment)
        await gone(self.pids.values())
        await super().end()


class Systemd(Peer):
    """One that boots in namespaces of its own, as the tests of the unit have it."""

    lasts = True

    def command(self) -> list[str | Path]:
        from tests.systemd.namespace import missing, systemd_namespace  # noqa: PLC0415

        self._booted = contextlib.ExitStack()
        if why := missing():
            raise RuntimeError(why)
        binds = {self.folder: str(self.folder)}
        self._systemd = self._booted.enter_context(systemd_namespace(binds))
        unit = f"[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart={self.worker} %i\nRestart=always\nRestartSec=0\n"
        self._systemd.put("/etc/systemd/system/bench@.service", unit)
        self._systemd.systemctl("daemon-reload")
        return []

    @property
    def root(self) -> int:
        return self._systemd._pid  # noqa: SLF001

    def seen(self) -> dict[str, int]:
        outside = {}
        for pid in tree(self.root):
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{pid}/status").read_text()
                outside[int(re.findall(r"^NSpid:.*\t(\d+)$", status, re.MULTILINE)[0])] = pid
        return {name: outside[pid] for name, pid in self.pids.items()}

    async def begin(self) -> None:
        units = [f"bench@{name}" for name in self.names]
        await asyncio.to_thread(self._systemd.systemctl, "start", *units)

    async def end(self) -> None:
        await asyncio.to_thread(self._systemd.systemctl, "stop", "bench@*")

    async def __aexit__(self, *exc: object) -> None:
        self._booted.close()
        await super().__aexit__(*exc)


KINDS = (Floor, S6, Pm2, Supervisord, Circus, Circus10ms, Systemd, Monit)
PEERS: dict[str, type[Peer]] = {kind.__name__.lower(): kind for kind in KINDS}
