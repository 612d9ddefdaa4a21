"""Builds the Debian package of a wheel: `make deb`.

The release is a venv of the distribution's Python, so the package depends on that Python's minor version. dpkg unpacks
it to /usr/lib/waguard/package, and install.py, which lies beside it, lays it next to the release that runs. The same
wheel, lock file and time make the same package.
"""

import argparse
import gzip
import hashlib
import importlib.metadata
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from systemd.release import (
    BEFORE_STEPS,
    CHECKOUT,
    CONFIGURATION,
    OF_PACKAGE,
    PACKAGE,
    PLACES,
    RELEASE,
    SHARE,
    FailedError,
    Host,
    build,
    run,
    say,
)

HERE: Final = Path(__file__).resolve().parent
INSTALLER: Final = ("__init__.py", "install.py", "release.py", "running.py")
SCRIPTS: Final = ("preinst", "postinst", "prerm", "postrm")
RENAMED: Final = {
    "waguard.8": "/usr/share/man/man8/waguard.8.gz",
    "waguard.zsh": "/usr/share/zsh/vendor-completions/_waguard",
}
"""Where Debian's place is not the one of PLACES without "local"."""
MAINTAINER: Final = "waguard maintainers <waguard@localhost>"
COPYRIGHT: Final = """\
waguard: its owner has stated no licence yet. Ask before you pass it on.

The package contains other works. Each has its licence in its folder below
/usr/lib/waguard/package/lib/python3.*/site-packages (*.dist-info; wa-js, swagger-ui
and uPlot: waguard/**/node_modules). Debian has the Apache License 2.0 in
/usr/share/common-licenses/Apache-2.0, the Mozilla Public License 2.0 in
/usr/share/common-licenses/MPL-2.0.

"""
CONTROL: Final = """\
Package: waguard
Version: {version}
Architecture: {architecture}
Maintainer: {maintainer}
Installed-Size: {size}
Depends: {libraries}, python3 (>= {python}), python3 (<< {next_python}), systemd, chromium | chromium-headless-shell | google-chrome-stable
Section: net
Priority: optional
Description: supervisor of WhatsApp Web sessions
 One daemon per host keeps a fleet of WhatsApp Web sessions connected: a
 headless Chromium for each of them, a health watchdog that restarts what a
 restart can cure, an HTTP API, webhooks, a command line and a status page.
"""
CHANGES: Final = """\
waguard ({version}) unstable; urgency=medium

  * See CHANGELOG.md.gz.

 -- {maintainer}  {date}
"""


def make(wheel: Path, requirements: Path, folder: Path, version: str, epoch: int) -> Path:
    """Build the package into ``folder``; ``epoch``: the time of all of its files. Raises ``FailedError``."""
    if not Path(sys._base_executable).resolve().is_relative_to("/usr/bin"):  # type: ignore[attr-defined]
        raise FailedError(
            "a package needs the distribution's Python: make deb PYTHON=/usr/bin/python3",
            CONFIGURATION,
        )
    maintainer = MAINTAINER
    if email := os.environ.get("DEBEMAIL"):
        maintainer = f"{os.environ.get('DEBFULLNAME', 'waguard maintainers')} <{email}>"
    with tempfile.TemporaryDirectory(prefix="waguard-deb.") as stage:
        host = Host(prefix=PACKAGE, destdir=stage)
        release = build(host, wheel, requirements)
        tree = host.at(host.unpacked)
        host.at(release).rename(tree)
        host.at(host.releases).rmdir()
        (tree / RELEASE).write_text(f"{release.name}\n")
        _strip(tree)
        _place(host, tree)
        changes = CHANGES.format(
            version=version, maintainer=maintainer, date=formatdate(epoch, localtime=False)
        )
        documents = {
            "copyright": (COPYRIGHT + "".join(_licences(tree))).encode(),
            "changelog.gz": _packed(changes.encode()),
            "CHANGELOG.md.gz": _packed((CHECKOUT / "CHANGELOG.md").read_bytes()),
        }
        for name, content in documents.items():
            _write(host.at(f"/usr/share/doc/waguard/{name}"), content)
        overrides = (HERE / "lintian-overrides").read_bytes()
        _write(host.at("/usr/share/lintian/overrides/waguard"), overrides)
        files = sorted(
            path for path in Path(stage).rglob("*") if path.is_file() and not path.is_symlink()
        )
        python = sys.version_info
        control = CONTROL.format(
            version=version,
            architecture=run("dpkg", "--print-architecture").strip(),
            maintainer=maintainer,
            size=sum(-(-path.stat().st_size // 1024) for path in files),
            libraries=_libraries(files),
            python=f"{python.major}.{python.minor}",
            next_python=f"{python.major}.{python.minor + 1}",
        )
        sums = (
            f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  {path.relative_to(stage)}\n"
            for path in files
        )
        meta = Path(stage) / "DEBIAN"
        _write(meta / "control", control.encode())
        _write(meta / "md5sums", "".join(sums).encode())
        for script in SCRIPTS:
            _write(meta / script, (HERE / script).read_bytes(), 0o755)
        Path(stage).chmod(0o755)
        for it in (Path(stage), *Path(stage).rglob("*")):
            os.utime(it, (epoch, epoch), follow_symlinks=False)
        folder.mkdir(parents=True, exist_ok=True)
        built = run(
            *("dpkg-deb", "--root-owner-group", "-Zxz", "--build", stage, folder),
            SOURCE_DATE_EPOCH=str(epoch),
        )
    return folder / Path(built.split("'")[-2]).name


def _strip(tree: Path) -> None:
    """What names this machine, is compiled where it is installed, or is of use to nobody there."""
    for path in (tree / "bin").iterdir():
        if path.name != "waguard" and not path.name.startswith("python"):
            path.unlink()
    for cache in [*tree.rglob("__pycache__")]:
        shutil.rmtree(cache)
    for path in [*tree.rglob("direct_url.json"), tree / ".gitignore"]:
        path.unlink()
    for path in [*tree.glob("lib/**/*.py")]:  # modules, none of them a program
        path.chmod(0o644)
        content = path.read_bytes()
        if content.startswith(b"#!"):
            path.write_bytes(content.replace(b"!", b"", 1))
    for record in tree.rglob(
        "*.dist-info/RECORD"
    ):  # it has the digests of what is removed or moved here
        lines = record.read_text().splitlines(keepends=True)
        own = [it for it in lines if not it.startswith("../") and "direct_url.json" not in it]
        record.write_text("".join(own))
    settings = tree / "pyvenv.cfg"
    lines = settings.read_text().splitlines(keepends=True)
    settings.write_text("".join(line for line in lines if not line.startswith("command")))


def _place(host: Host, tree: Path) -> None:
    """What lies elsewhere on the system; what has to fit the release that runs stays in it, too."""
    for name, place in PLACES.items():
        share = tree / SHARE / name
        target = OF_PACKAGE.get(name) or RENAMED.get(name) or place.replace("/local/", "/")
        content = share.read_bytes()
        if name != BEFORE_STEPS:
            _write(host.at(target), _packed(content) if target.endswith(".gz") else content)
        if name not in OF_PACKAGE:
            share.unlink()
    for name in INSTALLER:
        _write(host.at(PACKAGE / "systemd" / name), (HERE.parent / name).read_bytes())
    command = host.at("/usr/bin/waguard")
    command.parent.mkdir()
    command.symlink_to(f"../lib/{PACKAGE.name}/{host.link.name}/bin/waguard")


def _write(path: Path, content: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def _packed(content: bytes) -> bytes:
    return gzip.compress(content, 9, mtime=0)


def _licences(tree: Path) -> Iterator[str]:
    """A line for each work, by its own word."""
    [site] = tree.glob("lib/python3.*/site-packages")
    found = importlib.metadata.distributions(path=[str(site)])
    for it in sorted(found, key=lambda it: it.name.lower()):
        if it.name != "waguard":
            about = it.metadata
            kinds = [kind for kind in about.get_all("Classifier", ()) if "License ::" in kind]
            licence = about.get("License-Expression") or about.get("License") or "; ".join(kinds)
            yield f"  {it.name} {it.version}: {licence.strip().splitlines()[0] if licence else 'see there'}\n"


def _libraries(files: list[Path]) -> str:
    """The packages of the libraries that its modules are linked with."""
    with tempfile.TemporaryDirectory(prefix="waguard-deb.") as folder:
        _write(
            Path(folder) / "debian/control",
            b"Source: waguard\n\nPackage: waguard\nArchitecture: any\n",
        )
        modules = [path for path in files if ".so" in path.suffixes]
        found = run(
            *("env", "-C", folder, "dpkg-shlibdeps", "-O", "--ignore-missing-info"),
            *(f"-l{parent}" for parent in {path.parent for path in modules}),
            *(f"-e{path}" for path in modules),
        )
    return found.strip().partition("=")[2]


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--requirements", type=Path, default=CHECKOUT / "etc/requirements.txt")
    parser.add_argument("--folder", type=Path, default=CHECKOUT / "dist")
    parser.add_argument("--snapshot", action="store_true", help="older than the release itself")
    given = parser.parse_args()
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    version = given.wheel.name.split("-")[1]
    if given.snapshot:
        version += time.strftime("~%Y%m%d%H%M%S", time.gmtime(epoch))
    os.umask(0o022)
    try:
        made = make(given.wheel, given.requirements, given.folder, version, epoch)
    except FailedError as error:
        sys.stderr.write(f"{error}\n")
        return error.code
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    say(f"{made}: {made.stat().st_size // 1_000_000} MB, sha256 {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
