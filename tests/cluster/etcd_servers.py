"""Throw-away members of etcd, on loopback, in a temporary folder."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.ports import reserved_port

# what it stores is lost with the machine, which these tests would not survive either
_QUICK = ("--unsafe-no-fsync", "--log-level=error", "--logger=zap")


@dataclass(frozen=True)
class Certificates:
    """Files in PEM: who signed all, the server's, a client's."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


@dataclass
class Member:
    """One of them; ``endpoint`` is its address for clients."""

    name: str
    port: int
    peer: int
    scheme: str = "http"
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """It keeps its sockets and answers nothing."""
        assert self.process
        process = psutil.Process(self.process.pid)
        process.suspend()
        try:
            threads = [thread.id for thread in process.threads()]
            while any(psutil.Process(t).status() != psutil.STATUS_STOPPED for t in threads):
                time.sleep(0.01)
            yield
        finally:
            process.resume()

    def ask(self, path: str, **body: Any) -> Any:
        """What its gateway answers, without encryption and login."""
        request = urllib.request.Request(f"{self.endpoint}/v3/{path}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


@contextlib.contextmanager
def etcd(
    count: int = 1, *, certificates: Certificates | None = None, options: Sequence[str] = ()
) -> Iterator[Sequence[Member]]:
    """Skips where etcd is not installed. All answer."""
    program = shutil.which("etcd")
    if program is None:
        pytest.skip("no etcd here: apt-get install etcd-server")
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="wg-etcd"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        ports = [stack.enter_context(reserved_port()) for _ in range(2 * count)]
        scheme = "https" if certificates else "http"
        members = [Member(f"m{i}", ports[2 * i], ports[2 * i + 1], scheme) for i in range(count)]
        everybody = ",".join(f"{it.name}=http://127.0.0.1:{it.peer}" for it in members)
        for it in members:
            stack.callback(_end, it)
            it.process = _start([program, *options], it, folder, everybody, certificates)
        for it in members:
            _wait_for(partial(_answers, it), it, folder)
        yield members


def _start(
    program: Sequence[str],
    it: Member,
    folder: Path,
    everybody: str,
    certificates: Certificates | None,
) -> subprocess.Popen[bytes]:
    peer = f"http://127.0.0.1:{it.peer}"
    command = [*program, f"--name={it.name}", f"--data-dir={folder / it.name}", *_QUICK]
    command += [f"--listen-client-urls={it.endpoint}", f"--advertise-client-urls={it.endpoint}"]
    command += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
    command += [f"--initial-cluster={everybody}", f"--initial-cluster-token={folder.name}"]
    if certificates:
        command += [f"--cert-file={certificates.server}", f"--key-file={certificates.server_key}"]
        command += [f"--trusted-ca-file={certificates.ca}", "--client-cert-auth"]
    with (folder / f"{it.name}.log").open("w") as log:
        return subprocess.Popen(
            command, stdout=log, stderr=log, cwd=folder, env={**os.environ, "GOMAXPROCS": "1"}
        )


def _answers(it: Member) -> bool:
    if it.scheme == "https":  # it wants a certificate for that
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", it.port), 5):
            return True
        return False
    with contextlib.suppress(OSError, urllib.error.URLError):
        it.ask("kv/range", key="AA==")
        return True
    return False


def _wait_for(is_up: Callable[[], bool], it: Member, folder: Path) -> None:
    assert it.process
    for _ in range(900):
        if is_up():
            return
        try:
            it.process.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            continue
        break
    pytest.fail(f"etcd did not start:\n{(folder / f'{it.name}.log').read_text()}")


def _end(it: Member) -> None:
    if it.process is None:
        return
    with contextlib.suppress(ProcessLookupError):
        it.process.send_signal(signal.SIGKILL)
    it.process.wait()
