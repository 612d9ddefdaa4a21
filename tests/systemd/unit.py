"""The shipped unit in a throw-away systemd: installed, configured, asked."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.systemd.namespace import SystemdNamespace, missing, systemd_namespace
from waguard.cli.client import ApiCallError, ApiClient

CHECKOUT = Path(__file__).parents[2]
UNIT = "waguard.service"
# this checkout, below the only folder of /opt where the unit lets anything be executed
PYTHON = "/opt/waguard/venv/bin/python3"
WRAPPER = f"""#!/bin/sh
PYTHONPATH=/opt/waguard/checkout exec {PYTHON} -P -m waguard "$@"
"""
# a daemon that blocks when it is told to stop; systemd wakes one that was only stopped
HANGS = """import sys, time
from waguard import cli
from waguard.daemon.signals import Signals
Signals._on_stop = lambda *_: time.sleep(600)
sys.exit(cli.main())
"""
HANGING_WRAPPER = f"""#!/bin/sh
export PYTHONPATH=/opt/waguard/checkout
[ "$1" = run ] || exec {PYTHON} -P -m waguard "$@"
exec {PYTHON} -P -c "{HANGS}" "$@"
"""
WAGUARD = "/opt/waguard/current/bin/waguard"
CONFIG = "/etc/waguard/waguard.toml"
DROP_INS = f"/etc/systemd/system/{UNIT}.d"
AS_WAGUARD = ("setpriv", "--reuid=waguard", "--regid=waguard", "--init-groups")
AS_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")


def configure(systemd: SystemdNamespace, *changes: tuple[str, str]) -> None:
    """Install the shipped file as README.md says, on a free port and with these lines changed."""
    text = (CHECKOUT / "etc/waguard.toml").read_text()
    for old, new in (("port = 3001", "port = 0"), *changes):
        assert old in text
        text = text.replace(old, new, 1)
    systemd.put(CONFIG, text, 0o640)
    assert systemd.run("chgrp", "waguard", CONFIG).returncode == 0


@contextlib.contextmanager
def shipped() -> Iterator[SystemdNamespace]:
    """The unit of this checkout, installed and configured."""
    binds = {CHECKOUT: "/opt/waguard/checkout", Path(sys.prefix): "/opt/waguard/venv"}
    with systemd_namespace(binds) as namespace:
        namespace.run("useradd", "--system", "--home-dir", "/var/lib/waguard", "waguard")
        namespace.put(WAGUARD, WRAPPER, 0o755)
        namespace.put("/usr/local/share/man/man8/waguard.8", "")
        namespace.put(f"/etc/systemd/system/{UNIT}", (CHECKOUT / "systemd" / UNIT).read_text())
        namespace.put(
            f"{DROP_INS}/test.conf",
            # a busy machine stops Chromium slowly; a checkout is not compiled as an installation is
            "[Service]\nTimeoutStopSec=60\nEnvironment=PYTHONOPTIMIZE=\n",
        )
        configure(namespace)
        namespace.systemctl("daemon-reload")
        yield namespace


def why_not() -> str | None:
    base = Path(sys.executable).resolve()
    if base.is_relative_to("/root") or base.is_relative_to("/home"):
        return "needs Debian's Python: the unit's ProtectHome hides one below a home"
    return missing()


def api(systemd: SystemdNamespace) -> ApiClient:
    reported = json.loads((systemd.root / "run/waguard/waguard.pid").read_text())
    key_file = systemd.root / "var/lib/waguard/state/api-key"
    return ApiClient(reported["api"], key_file.read_text().split()[-1])


def until(systemd: SystemdNamespace, check: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            if found := check():
                return found
        except (ApiCallError, OSError):
            pass
        time.sleep(0.05)
    raise AssertionError(systemd.journal(UNIT)[-5000:])


def status(systemd: SystemdNamespace, wanted: str) -> Callable[[], dict[str, Any] | None]:
    def check() -> dict[str, Any] | None:
        client = api(systemd)
        reported: dict[str, Any] = client.call("GET", client.session("s1", "/status"))
        # a new daemon says at once how the session stands, its worker's word comes a moment later
        return reported if reported["status"] == wanted and reported["browser_pid"] else None

    return check


def processes(systemd: SystemdNamespace) -> list[str]:
    return systemd.run("pgrep", "-u", "waguard", "-a").stdout.splitlines()


def command(
    systemd: SystemdNamespace, *arguments: str, user: Sequence[str] = (), folder: str = "/"
) -> "subprocess.CompletedProcess[str]":
    """The installed command line, from ``folder``."""
    there = ("env", "-i", "-C", folder, "PATH=/usr/bin:/bin")
    return systemd.run(*user, *there, WAGUARD, *arguments)


@contextlib.contextmanager
def drop_in(systemd: SystemdNamespace, name: str, text: str) -> Iterator[None]:
    path = f"{DROP_INS}/{name}"
    systemd.put(path, text)
    systemd.systemctl("daemon-reload")
    try:
        yield
    finally:
        (systemd.root / path.lstrip("/")).unlink()
        systemd.systemctl("daemon-reload")
