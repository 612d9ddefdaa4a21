"""The Debian package, under a real systemd on a fresh minimal Debian: installed, upgraded, rolled back, removed, purged."""

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from systemd.deb import build
from systemd.release import CONFIG, OF_PACKAGE, PACKAGE
from tests.first_minutes import minimal_root
from tests.systemd.later_versions import FAILS_BEFORE_IT_LISTENS, ONE_KEY_MORE, Changes
from tests.systemd.namespace import SystemdNamespace, systemd_namespace
from tests.systemd.test_upgrade import (
    begin,
    is_the_same,
    paired,
    version,
    wheels,
)
from tests.systemd.unit import CHECKOUT, UNIT, api, processes, until, why_not
from waguard import __version__
from waguard.lab.standin import Policy, StandIn

__all__ = ["wheels"]

REASON = why_not() or minimal_root.why_not()
TOOLS = [tool for tool in ("dpkg-shlibdeps", "lintian") if shutil.which(tool) is None]
pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(3_600),
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
    pytest.mark.skipif(bool(TOOLS), reason=f"{', '.join(TOOLS)}: not installed"),
]

PACKAGES = "/packages"
IN_ROOT = ("python3", "systemd", "procps", "ca-certificates")
EPOCH = 1_700_000_000
APT_WITHIN = 1_500.0  # s: Chromium is fetched
TREE = f"{PACKAGE}/package".lstrip("/")
NEW_KEY = {
    **ONE_KEY_MORE,
    "../../../share/waguard/waguard.toml": ("\nrate = 0.0 ", "\npace = 0.0\nrate = 0.0 "),
}


@pytest.fixture(scope="module")
def package(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This version."""
    return built(wheels, tmp_path_factory.mktemp("package"))


def built(wheels: Path, folder: Path) -> Path:
    wheel = wheels / f"waguard-{__version__}-py3-none-any.whl"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(wheels))
        return build.make(wheel, CHECKOUT / "etc/requirements.txt", folder, __version__, EPOCH)


def variant(package: Path, later: str, changes: Changes) -> Path:
    """Beside it: a later version, with these texts of its modules replaced."""
    stage = package.with_name(later)
    subprocess.run(["dpkg-deb", "-R", package, stage], check=True)
    release = (stage / TREE / "share/waguard/release").read_text().strip()
    [site] = (stage / TREE).glob("lib/python3.*/site-packages")
    own = {
        stage / "DEBIAN/control": (f"Version: {__version__}", f"Version: {later}"),
        stage / TREE / "share/waguard/release": (release, f"{later}-0"),
        stage / TREE / "bin/waguard": (release, f"{later}-0"),
        site / "waguard/__init__.py": (f'"{__version__}"', f'"{later}"'),
        **{site / name: change for name, change in changes.items()},
    }
    for path, (before, after) in own.items():
        assert before in path.read_text()
        path.write_text(path.read_text().replace(before, after))
    made = package.with_name(f"waguard_{later}.deb")
    command = ("dpkg-deb", "--root-owner-group", "-Znone", "--build", stage, made)
    subprocess.run(command, check=True)
    return made


@pytest.fixture(scope="module")
def systemd(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemdNamespace]:
    root = tmp_path_factory.mktemp("debian") / "root"
    if why := minimal_root.make_root(root, IN_ROOT):
        pytest.skip(f"no root file system can be made here: {why}")
    with systemd_namespace({package.parent: PACKAGES}, root) as namespace:
        yield namespace


def apt(systemd: SystemdNamespace, *arguments: str) -> str:
    """What it prints; it has not failed, and neither has dpkg."""
    began = time.monotonic()
    environment = (
        "env",
        "-i",
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        "DEBIAN_FRONTEND=noninteractive",
    )
    done = systemd.run(*environment, "apt-get", "-qy", *arguments, within=APT_WITHIN)
    said = done.stdout + done.stderr
    print(arguments, f"{time.monotonic() - began:.1f} s", said[-3_000:])
    assert done.returncode == 0, said[-5_000:]
    return said


def installed(systemd: SystemdNamespace) -> str:
    """dpkg's state of it, and its version."""
    return systemd.run("dpkg-query", "-W", "-f=${db:Status-Abbrev}${Version}", "waguard").stdout


@pytest.mark.chromium
async def test_the_life_of_a_package(systemd: SystemdNamespace, package: Path) -> None:
    for later, changes in {
        "9.0": NEW_KEY,
        "9.1": FAILS_BEFORE_IT_LISTENS,
    }.items():
        await asyncio.to_thread(variant, package, later, changes)
    await asyncio.to_thread(apt, systemd, "update")
    await asyncio.to_thread(apt, systemd, "install", f"{PACKAGES}/{package.name}")
    is_installed(systemd)
    async with StandIn(policy=Policy(sync=0.1)) as standin:
        begin(systemd, standin)
        async with paired(systemd, standin) as before:
            said = await asyncio.to_thread(apt, systemd, "install", f"{PACKAGES}/waguard_9.0.deb")
            assert "sessions: 1 connected, 1 adopted" in said
            assert (installed(systemd), version(systemd)) == ("ii 9.0", "9.0")
            await is_the_same(systemd, before)
            assert conditions(systemd) == {}
            said = await asyncio.to_thread(apt, systemd, "install", f"{PACKAGES}/waguard_9.1.deb")
            assert "broken on purpose" in said
            assert "sessions: 1 connected, 1 adopted" in said
            assert (installed(systemd), version(systemd)) == ("ii 9.1", "9.0")
            await is_the_same(systemd, before)
            reported = await asyncio.to_thread(until, systemd, lambda: conditions(systemd))
            assert "9.1-0 is installed and does not run" in reported["release_rolled_back"]
            assert releases(systemd) >= {"9.0-0"}
            again = await asyncio.to_thread(
                systemd.run, "dpkg-reconfigure", "waguard", within=APT_WITHIN
            )
            assert (again.returncode, version(systemd)) == (0, "9.0"), "it is as broken as before"
            await is_the_same(systemd, before)
            await asyncio.to_thread(
                apt, systemd, "install", "--allow-downgrades", f"{PACKAGES}/waguard_9.0.deb"
            )
            assert (installed(systemd), version(systemd)) == ("ii 9.0", "9.0")
            await is_the_same(systemd, before)
            await asyncio.to_thread(until, systemd, lambda: conditions(systemd) == {})
    await asyncio.to_thread(is_removed, systemd)
    await asyncio.to_thread(is_purged, systemd, package)


def is_installed(systemd: SystemdNamespace) -> None:
    verified = systemd.run("systemd-analyze", "--man=no", "verify", OF_PACKAGE["waguard.service"])
    assert (verified.returncode, verified.stderr) == (0, "")
    reported = systemd.run("stat", "-c", "%a %U:%G", CONFIG, "/var/lib/waguard").stdout.splitlines()
    assert reported == ["640 root:waguard", "700 waguard:waguard"]
    assert systemd.run("systemctl", "is-active", UNIT).stdout.strip() == "inactive"
    assert version(systemd) == __version__
    print(systemd.run("du", "-sh", str(PACKAGE)).stdout)


def conditions(systemd: SystemdNamespace) -> dict[str, str]:
    found = api(systemd).call("GET", "/health/detailed")["conditions"]
    return {it["type"]: it["message"] for it in found}


def releases(systemd: SystemdNamespace) -> set[str]:
    return set(systemd.run("ls", f"{PACKAGE}/releases").stdout.split())


def is_removed(systemd: SystemdNamespace) -> None:
    said = apt(systemd, "remove", "waguard")
    assert f"kept: {CONFIG}" in said
    assert processes(systemd) == []
    for place in (*OF_PACKAGE.values(), str(PACKAGE), "/usr/bin/waguard"):
        assert not os.path.lexists(systemd.root / place.lstrip("/")), place
    for kept in (CONFIG, "/var/lib/waguard/state/waguard.db", "/var/lib/waguard/sessions"):
        assert (systemd.root / kept.lstrip("/")).exists(), kept
    assert systemd.run("systemctl", "is-active", UNIT).stdout.strip() == "inactive"


def is_purged(systemd: SystemdNamespace, package: Path) -> None:
    """Sessions stay, unless somebody asks for it."""
    said = apt(systemd, "purge", "waguard")
    assert "kept: sessions" in said
    assert not (systemd.root / CONFIG.lstrip("/")).exists()
    assert (systemd.root / "var/lib/waguard/state/waguard.db").exists()
    apt(systemd, "install", f"{PACKAGES}/{package.name}")
    systemd.put("/etc/waguard/purge-sessions", "")
    apt(systemd, "purge", "waguard")
    for gone in ("var/lib/waguard", "etc/waguard"):
        assert not (systemd.root / gone).exists(), gone


def test_one_of_make_install_is_not_shadowed(systemd: SystemdNamespace, package: Path) -> None:
    unit = "/etc/systemd/system/waguard.service"
    systemd.put(unit, (CHECKOUT / "systemd/waguard.service").read_text())
    done = systemd.run("dpkg", "--install", f"{PACKAGES}/{package.name}")
    (systemd.root / unit.lstrip("/")).unlink()
    assert (done.returncode, "make uninstall" in done.stderr) == (1, True)
    assert not (systemd.root / str(PACKAGE).lstrip("/")).exists()


def test_the_same_parts_make_the_same_package(wheels: Path, package: Path, tmp_path: Path) -> None:
    assert built(wheels, tmp_path).read_bytes() == package.read_bytes()


def test_lintian_finds_nothing_but_what_is_named(package: Path) -> None:
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error,warning", package],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
    control = subprocess.run(
        ["dpkg-deb", "-I", package], capture_output=True, text=True, check=True
    )
    assert "python3 (>= 3." in control.stdout
    assert "python3 (<< 3." in control.stdout
