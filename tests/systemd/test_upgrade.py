"""Installed, upgraded and removed as an operator does it, under a real systemd with a real session."""

import asyncio
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from systemd import install
from systemd.release import PLACES
from tests.systemd.later_versions import (
    FAILS_AT_THE_RESTORE,
    FAILS_BEFORE_IT_LISTENS,
    OTHER_KEY,
    Changes,
)
from tests.systemd.namespace import SystemdNamespace, systemd_namespace
from tests.systemd.unit import CHECKOUT, CONFIG, UNIT, api, processes, status, until, why_not
from waguard import __version__
from waguard.lab.standin import Policy, StandIn
from waguard.store.revision import HEAD

pytestmark = [
    pytest.mark.long,
    pytest.mark.chromium,
    pytest.mark.timeout(900),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
WHEELS = "/opt/wheels"


def migration(revision: int) -> str:
    """What a later version may do to the tables."""
    return f"""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "{revision:04}", "{revision - 1:04}"
def upgrade():
    op.create_table("waguard_v{revision}", sa.Column("id", sa.Integer, primary_key=True))
"""


def variant(wheel: Path, version: str, migrations: int, changes: Changes) -> None:
    """Beside ``wheel``: a version with so many migrations more, and these texts replaced."""
    head = int(HEAD) + migrations
    own = {
        "waguard/__init__.py": (f'"{__version__}"', f'"{version}"'),
        "waguard/store/revision.py": (f'HEAD: Final = "{HEAD}"', f'HEAD: Final = "{head:04}"'),
        "METADATA": (f"\nVersion: {__version__}\n", f"\nVersion: {version}\n"),
        **changes,
    }
    target = wheel.with_name(wheel.name.replace(__version__, version))
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            for file in (name, name.rpartition("/")[2]):
                if file in own:
                    before, after = own.pop(file)
                    assert before in content.decode()
                    content = content.decode().replace(before, after, 1).encode()
            new.writestr(name.replace(__version__, version, 1), content)
        for revision in range(int(HEAD) + 1, head + 1):
            name = f"waguard/store/migrations/versions/v{revision:04}_later.py"
            new.writestr(name, migration(revision))
    assert not own


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This version and later ones, with all that they need."""
    folder = tmp_path_factory.mktemp("wheels")
    build = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, CHECKOUT)
    subprocess.run([*PIP, *build], check=True)
    locked = ("--require-hashes", "--only-binary", ":all:", "-r", CHECKOUT / "etc/requirements.txt")
    fetched = subprocess.run(
        [*PIP, "download", "--quiet", "--no-deps", "-d", folder, *locked], check=False
    )
    if fetched.returncode:
        pytest.skip("needs a package index")
    wheel = next(folder.glob("waguard-*.whl"))
    variant(wheel, "9.0", 1, {})
    variant(wheel, "9.1", 2, FAILS_AT_THE_RESTORE)
    variant(wheel, "9.2", 2, FAILS_BEFORE_IT_LISTENS)
    variant(wheel, "9.3", 0, OTHER_KEY)
    return folder


@pytest.fixture(scope="module")
def systemd(wheels: Path) -> Iterator[SystemdNamespace]:
    binds = {CHECKOUT: "/opt/checkout", Path(sys.prefix): "/opt/venv", wheels: WHEELS}
    with systemd_namespace(binds) as namespace:
        yield namespace


def make(systemd: SystemdNamespace, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """As the Makefile has it; the dependencies are there already."""
    environment = ("env", "PIP_NO_INDEX=1", f"PIP_FIND_LINKS={WHEELS}")
    done = systemd.run(
        *environment, "/opt/venv/bin/python3", "/opt/checkout/systemd/install.py", *arguments
    )
    print(done.args[-3:], done.returncode, done.stdout, done.stderr)
    return done


def upgrade(
    systemd: SystemdNamespace, version: str, within: str = "120"
) -> "subprocess.CompletedProcess[str]":
    wheel = f"{WHEELS}/waguard-{version}-py3-none-any.whl"
    return make(systemd, "upgrade", "--wheel", wheel, "--within", within)


def version(systemd: SystemdNamespace) -> str:
    return systemd.run("waguard", "--version").stdout.split()[-1]


async def test_the_life_of_an_installation(systemd: SystemdNamespace) -> None:
    wheel = f"{WHEELS}/waguard-{__version__}-py3-none-any.whl"
    assert make(systemd, "install", "--wheel", wheel).returncode == 0
    is_installed(systemd)
    async with StandIn(policy=Policy(sync=0.1)) as standin:
        begin(systemd, standin)
        async with paired(systemd, standin) as before:
            await is_upgraded(systemd, before)
            await is_put_back(systemd, before, "9.1", "broken on purpose")
            await is_put_back(systemd, before, "9.2", "broken on purpose")
            await is_not_begun(systemd, before)
    await asyncio.to_thread(is_removed, systemd)


def is_installed(systemd: SystemdNamespace) -> None:
    verified = systemd.run("systemd-analyze", "verify", PLACES["waguard.service"])
    assert (verified.returncode, verified.stderr) == (0, "")
    reported = systemd.run("stat", "-c", "%a %U:%G", CONFIG, "/var/lib/waguard").stdout.splitlines()
    assert reported == ["640 root:waguard", "700 waguard:waguard"]
    listed = systemd.run("/opt/venv/bin/python3", "-m", "pip", "--python", tree(systemd), "freeze")
    names = {line.partition("=")[0] for line in listed.stdout.splitlines()}
    assert "aiohttp" in names
    assert not names & {"pytest", "ruff", "mypy", "hatchling", "pip"}
    code = systemd.run("find", tree(systemd), "-name", "supervisor.*.pyc").stdout
    assert sorted(name.count(".opt-2.") for name in code.split()) == [0, 1]


def tree(systemd: SystemdNamespace) -> str:
    return systemd.run("readlink", "-f", "/opt/waguard/current").stdout.strip()


def begin(systemd: SystemdNamespace, standin: StandIn) -> None:
    arguments = ", ".join(json.dumps(argument) for argument in standin.browser_args)
    path = systemd.root / CONFIG.lstrip("/")
    text = path.read_text().replace("port = 3001", "port = 0", 1)
    path.write_text(text.replace("extra_args = []", f"extra_args = [{arguments}]", 1))
    systemd.systemctl("enable", "--now", UNIT)


@asynccontextmanager
async def paired(systemd: SystemdNamespace, standin: StandIn) -> AsyncIterator[dict[str, Any]]:
    """The status of a session that is connected."""

    def raw() -> str:
        client = api(systemd)
        return str(client.call("GET", client.session("s1", "/qr?wait=5"))["raw"])

    create = ("POST", "/api/sessions", {"session_id": "s1", "workspace_id": 1})
    await asyncio.to_thread(until, systemd, lambda: api(systemd).call(*create))
    standin.phone.scan(await asyncio.to_thread(until, systemd, raw), phone="6281180001")
    yield await asyncio.to_thread(until, systemd, status(systemd, "connected"))


async def is_the_same(systemd: SystemdNamespace, before: dict[str, Any]) -> None:
    after = await asyncio.to_thread(until, systemd, status(systemd, "connected"))
    assert (after["worker_pid"], after["browser_pid"]) == (
        before["worker_pid"],
        before["browser_pid"],
    )


async def is_upgraded(systemd: SystemdNamespace, before: dict[str, Any]) -> None:
    done = await asyncio.to_thread(upgrade, systemd, "9.0")
    assert (done.returncode, done.stderr) == (0, "")
    assert "sessions: 1 connected, 1 adopted" in done.stdout
    assert version(systemd) == "9.0"
    await is_the_same(systemd, before)


async def is_put_back(systemd: SystemdNamespace, before: dict[str, Any], to: str, why: str) -> None:
    """The newer one has migrated the database, or was about to; the old one runs on that."""
    done = await asyncio.to_thread(upgrade, systemd, to, "15")
    assert done.returncode == 1
    assert why in done.stdout
    assert "sessions: 1 connected, 1 adopted" in done.stdout
    assert "runs again" in done.stderr
    assert version(systemd) == "9.0"
    await is_the_same(systemd, before)
    assert "migrated by a newer waguard" in systemd.journal(UNIT)


async def is_not_begun(systemd: SystemdNamespace, before: dict[str, Any]) -> None:
    """Where the new version cannot use the configuration, or nobody can."""
    daemon, there = systemd.show(UNIT)["MainPID"], releases(systemd)
    path = systemd.root / CONFIG.lstrip("/")
    text = path.read_text()
    done = await asyncio.to_thread(upgrade, systemd, "9.3")
    assert (done.returncode, "send.rate" in done.stderr) == (2, True)
    assert "9.0" in done.stdout.splitlines()[-1], "goes on"
    path.write_text(text.replace("rate = 0.0", 'rate = "soon"', 1))
    done = await asyncio.to_thread(upgrade, systemd, "9.1")
    path.write_text(text)
    assert (done.returncode, "send.rate" in done.stderr) == (2, True)
    assert (version(systemd), systemd.show(UNIT)["MainPID"]) == ("9.0", daemon)
    assert releases(systemd) == there
    await is_the_same(systemd, before)


def releases(systemd: SystemdNamespace) -> list[str]:
    return systemd.run("ls", "/opt/waguard/releases").stdout.split()


def is_removed(systemd: SystemdNamespace) -> None:
    done = make(systemd, "uninstall")
    assert (done.returncode, done.stderr) == (0, "")
    assert processes(systemd) == []
    for place in (*PLACES.values(), "/opt/waguard", "/usr/local/bin/waguard"):
        assert not os.path.lexists(systemd.root / place.lstrip("/")), place
    for kept in (CONFIG, "/var/lib/waguard/state", "/var/lib/waguard/sessions"):
        assert (systemd.root / kept.lstrip("/")).exists(), kept
        assert kept in done.stdout
    assert (systemd.root / "var/lib/waguard/state/waguard.db").exists()


def test_a_package_names_nothing_of_where_it_was_staged(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    wheel = str(wheels / f"waguard-{__version__}-py3-none-any.whl")
    arguments = ["install", "--wheel", wheel, "--destdir", str(tmp_path), "--prefix", "/srv/wa"]
    assert install.main(arguments) == 0
    files = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path for path in files if str(tmp_path).encode() in path.read_bytes()] == []
    (script,) = tmp_path.glob("srv/wa/releases/*/bin/waguard")
    assert script.read_text().startswith(f"#!/srv/wa/releases/{script.parts[-3]}/bin/python")
    unit = (tmp_path / PLACES["waguard.service"].lstrip("/")).read_text()
    assert "ExecStart=/srv/wa/current/bin/waguard run" in unit
    assert "ExecPaths=/usr -/srv/wa " in unit
