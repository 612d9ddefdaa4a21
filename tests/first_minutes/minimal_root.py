"""A minimal Debian in a folder, with what the README names and nothing else, and commands in it."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from waguard.host.process import procfs

SUITE: Final = "trixie"
NAMED: Final = ("python3", "npm", "make")
"""By the README."""
SUDO: Final = "sudo"
CHECKOUT: Final = Path(__file__).parents[2]
USER: Final = "somebody"
# how this machine reaches the registries is no part of what is tried
_REACHED_BY: Final = (
    *("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt"),
    *("/etc/pip.conf", "/etc/npmrc", "/root/.npmrc"),
)
# what is mounted below a test's folder is deleted with it, this machine's /dev as well: nobody else is to see it
APART: Final = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
"""In front of a command: processes and mounts of its own, which end with it."""
_BUILD_WITHIN: Final = 1_500.0  # s


def why_not() -> str | None:
    """Why none can be made here."""
    if os.geteuid() != 0:
        return "only root can make a root file system"
    missing = [name for name in ("mmdebstrap", "unshare", "git") if shutil.which(name) is None]
    return f"{', '.join(missing)} is not installed" if missing else None


def make_root(root: Path, packages: Sequence[str] = (*NAMED, SUDO)) -> str | None:
    """Make one; why it cannot be had: no registry answers."""
    include = ",".join(packages)
    done = subprocess.run(
        [
            *(*APART, "mmdebstrap", "--quiet", "--variant=minbase"),
            *(f"--include={include}", SUITE, str(root)),
        ],
        capture_output=True,
        text=True,
        timeout=_BUILD_WITHIN,
        check=False,
    )
    if done.returncode:
        return done.stderr.strip()[-300:]
    for name in _REACHED_BY:
        if Path(name).is_file():
            target = root / name.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, target)
    within(root, "useradd", "--create-home", "--shell", "/bin/sh", USER)
    if SUDO in packages:
        (root / "etc/sudoers.d" / USER).write_text(f"{USER} ALL=(ALL) NOPASSWD: ALL\n")
    return None


def clone(root: Path, where: str, *, owner: str) -> None:
    """A fresh clone of what is committed, of this user."""
    target = root / where.lstrip("/")
    subprocess.run(
        ["git", "clone", "--quiet", "--no-hardlinks", str(CHECKOUT), str(target)], check=True
    )
    within(root, "chown", "-R", f"{owner}:", where)


def within(
    root: Path, *argv: str, user: str = "root", folder: str = "/", timeout: float = 900.0
) -> "subprocess.CompletedProcess[str]":
    """A command in it, to its end."""
    return subprocess.run(
        entered(root, *argv, user=user, folder=folder),
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def entered(root: Path, *argv: str, user: str, folder: str) -> Sequence[str]:
    """The command line: processes and mounts of its own, which end with it."""
    inside = f'cd {folder} && exec "$@"'
    # not chroot: in one the kernel makes no user namespace, and Chromium has no sandbox
    prepare = (
        f"mount --bind {root} {root} && cd {root} && mount -t proc proc proc"
        " && mount --rbind /dev dev && mount -t tmpfs tmpfs tmp && mount -t tmpfs tmpfs run"
        " && mkdir -p .old && pivot_root . .old"
    )
    leave = 'umount -l /.old && exec "$@"'
    home = "/root" if user == "root" else f"/home/{user}"
    environment = (
        f"HOME={home}",
        f"USER={user}",
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG=C.UTF-8",
    )
    who = (
        () if user == "root" else ("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups")
    )
    return (
        *APART,
        *("sh", "-c", f'{prepare} && exec chroot . "$@"', "sh", "sh", "-c", leave, "sh"),
        *("env", "-i", *environment, *who, "sh", "-c", inside, "sh", *argv),
    )


@contextlib.contextmanager
def running(root: Path, *argv: str, user: str, folder: str) -> Iterator["subprocess.Popen[str]"]:
    """A command that does not end by itself; its output is one stream."""
    process = subprocess.Popen(
        entered(root, *argv, user=user, folder=folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        for pid in [*descendants(process.pid), process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate()  # closes its output, too


def descendants(pid: int) -> list[int]:
    """What it started, and what that did."""
    parents = {one: procfs.parent(one) for one in procfs.pids()}
    children = [one for one, parent in parents.items() if parent == pid]
    return [*children, *(it for one in children for it in descendants(one))]
