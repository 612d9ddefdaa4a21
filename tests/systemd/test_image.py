"""The container image: built, and run by runc with a read-only root, no capability, limits and our seccomp profile."""

import asyncio
import contextlib
import copy
import json
import os
import resource
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from systemd.image import build
from tests.systemd.unit import CHECKOUT
from waguard.lab.standin import Policy, StandIn

NEEDED: Final = ("mmdebstrap", "umoci", "runc")
_MISSING: Final = [it for it in NEEDED if shutil.which(it) is None]
pytestmark = [
    pytest.mark.long,
    pytest.mark.chromium,
    pytest.mark.timeout(1_500),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a root file system"),
    pytest.mark.skipif(bool(_MISSING), reason=f"{', '.join(_MISSING)} is not installed"),
]

PHONE: Final = "6281180001"
KEY: Final = "a-key-of-the-test-of-the-image"
LARGEST: Final = 350 << 20
KILLED_AFTER: Final = 10.0  # s, by `docker stop`
SECCOMP: Final = CHECKOUT / "systemd/image/seccomp.json"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("image")
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
    subprocess.run([*pip, "--wheel-dir", str(to), str(CHECKOUT)], check=True)
    (wheel,) = to.glob("*.whl")
    command = (sys.executable, "systemd/image/build.py", "--wheel", str(wheel), "--to", str(to))
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode and "mmdebstrap" in done.stderr:
        pytest.skip(f"no Debian can be had: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stderr
    (made,) = to.glob("*.oci.tar")
    return made


class Container:
    """One container of the image, in this network: the stand-in listens on loopback."""

    def __init__(self, bundle: Path, data: Path, port: int) -> None:
        self._bundle, self._data, self.port = bundle, data, port
        self._given: dict[str, Any] = json.loads((bundle / "config.json").read_text())
        self._state = bundle.parent / "runc"
        self.log = bundle.parent / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, environment: dict[str, str], *, namespaces: bool = True) -> None:
        """``namespaces``: whether the profile lets Chromium's sandbox make any."""
        config = copy.deepcopy(self._given)
        process, linux = config["process"], config["linux"]
        process |= {"terminal": False, "noNewPrivileges": True}
        process["env"] += [f"{name}={value}" for name, value in environment.items()]
        process["capabilities"] = {name: [] for name in process["capabilities"]}
        files = min(65_536, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        process["rlimits"] = [{"type": "RLIMIT_NOFILE", "hard": files, "soft": files}]
        config["root"]["readonly"] = True
        of_ours = (build.STATE, "/tmp", "/dev/shm", "/etc/resolv.conf")
        config["mounts"] = [
            *(it for it in config["mounts"] if it["destination"] not in of_ours),
            _mount(build.STATE, "bind", str(self._data), "rbind"),
            _mount("/tmp", "tmpfs", "tmpfs", "mode=1777"),
            _mount("/dev/shm", "tmpfs", "tmpfs", "mode=1777", "size=1g"),
        ]
        shared = {"network", "user"}
        linux["namespaces"] = [it for it in linux["namespaces"] if it["type"] not in shared]
        linux["resources"] = {"pids": {"limit": 2_000}, "memory": {"limit": 2 << 30}}
        linux["seccomp"] = json.loads(SECCOMP.read_text())
        if not namespaces:
            # as an engine's own profile: clone for threads and processes alone
            rules = linux["seccomp"]["syscalls"]
            rules[1] |= {"names": ["clone"]}
            rules[1]["args"][0]["value"] |= 0x7000_0000  # user, pid, net
        (self._bundle / "config.json").write_text(json.dumps(config))
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*self._runc(), "run", "--bundle", str(self._bundle), "wg"],
                stdout=log,
                stderr=log,
            )

    def _runc(self) -> tuple[str, ...]:
        return ("runc", "--root", str(self._state))

    def run(self, *argv: str) -> "subprocess.CompletedProcess[str]":
        """A command within."""
        command = [*self._runc(), "exec", "wg", *argv]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """What the API answers; None: nobody answers, or not with success."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Api-Key": KEY, "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except (OSError, urllib.error.HTTPError):
            return None

    async def until(self, condition: Any, what: str) -> Any:
        async def check() -> Any:
            while not (found := await asyncio.to_thread(condition)):
                assert self._process
                assert self._process.poll() is None, self.log.read_text()
                await asyncio.sleep(0.1)
            return found

        try:
            async with asyncio.timeout(120):
                return await check()
        except TimeoutError:
            pytest.fail(f"never: {what}\n{self.log.read_text()}")

    def status(self) -> dict[str, Any]:
        return self.call("GET", "/api/sessions/s1/status") or {}

    def end(self, signal: str = "TERM") -> tuple[int, float]:
        """Exit code, and how long it took."""
        began = time.monotonic()
        subprocess.run([*self._runc(), "kill", "wg", signal], check=False)
        assert self._process
        code = self._process.wait(60)
        return code, time.monotonic() - began


def _mount(where: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    own = ["rw", "nosuid", "nodev", *options]
    return {"destination": where, "type": kind, "source": source, "options": own}


@pytest.fixture
def container(archive: Path, tmp_path: Path) -> Iterator[Container]:
    layout, bundle, data = tmp_path / "layout", tmp_path / "bundle", tmp_path / "data"
    with tarfile.open(archive) as tar:
        tar.extractall(layout, filter="data")
    version = archive.name.removeprefix("waguard-").removesuffix(".oci.tar")
    subprocess.run(["umoci", "unpack", "--image", f"{layout}:{version}", str(bundle)], check=True)
    (data / "state").mkdir(parents=True)
    for path in (data, data / "state"):
        path.chmod(0o700)
        os.chown(path, build.USER, build.USER)
    made = Container(bundle, data, port=_free_port())
    yield made
    if made._process and made._process.poll() is None:
        made.end("KILL")


def _free_port() -> int:
    import socket  # noqa: PLC0415

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def key(container: Container) -> None:
    path = container._data / "state/api-key"
    path.write_text(KEY)
    path.chmod(0o600)
    os.chown(path, build.USER, build.USER)


@contextlib.asynccontextmanager
async def standin(container: Container) -> AsyncIterator[tuple[StandIn, dict[str, str]]]:
    async with StandIn(policy=Policy(sync=0.1)) as made:
        yield (
            made,
            {
                "WAGUARD_API__PORT": str(container.port),
                "WAGUARD_WHATSAPP__URL": made.url,
                "WAGUARD_BROWSER__EXTRA_ARGS": json.dumps(list(made.browser_args)),
                "WAGUARD_FLEET__NETWORK": "off",
            },
        )


async def connected(container: Container) -> dict[str, Any]:
    found: dict[str, Any] = await container.until(
        lambda: (it := container.status()).get("status") == "connected" and it, "it is connected"
    )
    return found


async def test_a_session_lives_in_it_and_outlives_the_container(
    archive: Path, container: Container
) -> None:
    assert archive.stat().st_size <= LARGEST
    async with standin(container) as (world, environment):
        container.start(environment)
        assert container._process
        assert await asyncio.to_thread(container._process.wait, 60) == 2
        assert "no safe key of your own" in container.log.read_text(), "it is reached from outside"
        key(container)
        container.start(environment)
        await container.until(lambda: container.call("GET", "/health/ready"), "it is up")
        container.call("POST", "/api/sessions", {"session_id": "s1", "workspace_id": 1})
        code = await container.until(
            lambda: (container.call("GET", "/api/sessions/s1/qr?wait=20") or {}).get("raw"),
            "a code",
        )
        world.phone.scan(code, PHONE)
        await connected(container)
        assert container.run("waguard", "status").returncode == 0
        doctor = json.loads(container.run("waguard", "doctor", "--json").stdout)
        checks = {it["check"]: it["result"] for it in doctor["checks"]}
        assert checks["sandbox"] == checks["limits"] == "ok", doctor
        assert "Read-only" in container.run("touch", "/usr/x").stderr
        exit_code, took = await asyncio.to_thread(container.end)
        assert exit_code == 0
        assert took < KILLED_AFTER, "`docker stop` would have killed its Chromium"
        container.start(environment)
        await connected(container)  # without a scan
        await asyncio.to_thread(container.end, "KILL")
        container.start(environment)  # beside what the killed one left in its runtime folder
        await connected(container)
        assert (await asyncio.to_thread(container.end))[0] == 0


async def test_without_user_namespaces_the_reason_is_said_once(container: Container) -> None:
    key(container)
    async with standin(container) as (_, environment):
        container.start(environment, namespaces=False)
        await container.until(lambda: container.call("GET", "/health/ready"), "it is up")
        container.call("POST", "/api/sessions", {"session_id": "s1", "workspace_id": 1})

        def conditions() -> list[str]:
            found = (container.call("GET", "/health/detailed") or {}).get("conditions") or []
            return [it["type"] for it in found if it["type"] == "sandbox_missing"]

        await container.until(conditions, "the condition")
        assert container.status()["restarts"] == 0, "the host's fault spends nothing"
        await asyncio.to_thread(container.end)
