"""Builds the container image, an OCI archive: `make image`, as root, without a container daemon. Stdlib only.

A minimal Debian with Chromium's headless shell and one release of waguard, as `make install` lays it down. Built twice
from one commit and one state of Debian's archive it has the same digest. Exit codes: 0 done, 1 failed, 2 usage.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
INSTALL: Final = HERE.parent / "install.py"
SUITE: Final = "trixie"
PACKAGES: Final = ("python3", "ca-certificates", "chromium-headless-shell")
LEFT_OUT: Final = ("doc", "man", "info", "locale", "lintian", "bash-completion", "zsh")
"""Below /usr/share; licences stay."""
USER: Final = 10001
STATE: Final = "/var/lib/waguard"
CONFIG: Final = "/etc/waguard/waguard.toml"
PORT: Final = 3001
ENVIRONMENT: Final = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONOPTIMIZE": "2",  # as the unit has it
    "XDG_CACHE_HOME": "/tmp/.cache",  # of fonts, which Chromium keeps
}
CHANGED: Final = {
    # a port is published by the container's engine: inside nothing comes in by loopback
    'host = "127.0.0.1"': 'host = "0.0.0.0"',
    'flavour = "chromium"': 'flavour = "headless-shell"',
    # a container's /run goes with it, and so would messages that the database has not taken
    'runtime = "/run/waguard"': f'runtime = "{STATE}/run"',
}
"""Lines of the configuration that differ in a container."""
OF_SYSTEMD: Final = ("etc/systemd", "etc/sysusers.d", "etc/tmpfiles.d")


def run(*command: str | Path, **environment: str) -> str:
    """What it printed. Raises ``SystemExit`` with its output where it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}:\n{(done.stderr or done.stdout).strip()}")
    return done.stdout


def root_of_debian(root: Path, epoch: str) -> None:
    """A root file system with the packages; its files are no younger than ``epoch``."""
    excluded = [f"path-exclude=/usr/share/{name}/*" for name in LEFT_OUT]
    kept = "path-include=/usr/share/doc/*/copyright"
    run(
        *("mmdebstrap", "--quiet", "--variant=essential", f"--include={','.join(PACKAGES)}"),
        *(f"--dpkgopt={it}" for it in (*excluded, kept)),
        *("--aptopt=Apt::Install-Recommends false", SUITE, root),
        SOURCE_DATE_EPOCH=epoch,
    )
    inside = run("chroot", root, "python3", "--version").split()[1].rpartition(".")[0]
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if inside != here:
        raise SystemExit(f"{SUITE} has Python {inside}, this is {here}: build it on {SUITE}")


def user_and_folders(root: Path) -> None:
    """The user without a name on the host, and what is his."""
    with (root / "etc/passwd").open("a") as passwd, (root / "etc/group").open("a") as group:
        passwd.write(f"waguard:x:{USER}:{USER}::{STATE}:/usr/sbin/nologin\n")
        group.write(f"waguard:x:{USER}:\n")
    own = root / STATE.lstrip("/")
    own.mkdir(mode=0o700, parents=True, exist_ok=True)
    own.chmod(0o700)
    os.chown(own, USER, USER)
    config = root / CONFIG.lstrip("/")
    text = config.read_text()
    for line, other in CHANGED.items():
        if text.count(line) != 1:
            raise SystemExit(f"{CONFIG} has no line {line}")
        text = text.replace(line, other)
    config.write_text(text)
    config.chmod(0o644)  # it has no secret, and its group is none here
    for name in OF_SYSTEMD:
        shutil.rmtree(root / name, ignore_errors=True)


def tidy(root: Path, epoch: int) -> None:
    """Leave out what differs from build to build, and what a read-only root does not need."""
    for name in ("var/log", "var/cache", "var/lib/apt/lists", "tmp", "run/lock"):
        for path in (root / name).glob("*"):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for name in ("etc/machine-id", "etc/hostname", "etc/resolv.conf", "etc/ld.so.cache"):
        (root / name).unlink(missing_ok=True)
    run("chroot", root, "ldconfig")
    shutil.rmtree(root / "var/cache/ldconfig", ignore_errors=True)
    for path in (root, *root.rglob("*")):
        if path.lstat().st_mtime > epoch:
            os.utime(path, (epoch, epoch), follow_symlinks=False)


def pack(root: Path, layout: Path, version: str, created: str) -> None:
    """Make an OCI image of the root file system."""
    image = f"{layout}:{version}"
    run("umoci", "init", "--layout", layout)
    run("umoci", "new", "--image", image)
    run("umoci", "insert", "--image", image, root, "/")
    command = ("run", "--config", CONFIG)
    run(
        *("umoci", "config", "--image", image, "--created", created, "--history.created", created),
        *("--config.user", f"{USER}:{USER}", "--config.workingdir", STATE),
        *("--config.entrypoint", "/usr/local/bin/waguard"),
        *(part for word in command for part in ("--config.cmd", word)),
        *(part for it in ENVIRONMENT.items() for part in ("--config.env", "=".join(it))),
        *("--config.volume", STATE, "--config.exposedports", f"{PORT}/tcp"),
        *("--config.stopsignal", "SIGTERM"),
        *("--config.label", f"org.opencontainers.image.version={version}"),
        *("--config.label", "org.opencontainers.image.title=waguard"),
    )
    run("umoci", "gc", "--layout", layout)


def main() -> None:
    """See ``--help``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True, help="folder for waguard-VERSION.oci.tar")
    given = parser.parse_args()
    missing = [it for it in ("mmdebstrap", "umoci") if shutil.which(it) is None]
    if missing or os.geteuid() != 0:
        raise SystemExit(
            f"run as root: apt-get install {' '.join(missing)}" if missing else "run it as root"
        )
    version = given.wheel.name.split("-")[1]
    epoch = run("git", "-C", HERE, "log", "-1", "--format=%ct").strip()
    created = run("date", "--utc", "--date", f"@{epoch}", "+%Y-%m-%dT%H:%M:%SZ").strip()
    with tempfile.TemporaryDirectory(prefix="waguard-image-") as folder:
        root, layout = Path(folder) / "root", Path(folder) / "layout"
        root_of_debian(root, epoch)
        run(
            *(sys.executable, INSTALL, "install", "--wheel", given.wheel),
            *("--prefix", "/opt/waguard", "--destdir", root),
            SOURCE_DATE_EPOCH=epoch,
        )
        user_and_folders(root)
        tidy(root, int(epoch))
        pack(root, layout, version, created)
        archive = given.to / f"waguard-{version}.oci.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(layout, arcname=".", filter=lambda it: _plain(it, int(epoch)))
    print(f"{archive}: {archive.stat().st_size / 2**20:.0f} MiB; `docker load --input` takes it")


def _plain(it: tarfile.TarInfo, epoch: int) -> tarfile.TarInfo:
    it.mtime, it.uid, it.gid, it.uname, it.gname = epoch, 0, 0, "", ""
    return it


if __name__ == "__main__":
    main()
