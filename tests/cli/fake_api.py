"""A daemon as the command line sees it: a socket, a pid file and an API that says what a test says."""

import contextlib
import http.server
import json
import os
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import DEADLINE
from waguard.host.process import procfs
from waguard.host.system.listen import LOCAL_SOCKET


@dataclass
class Answer:
    """What the API says to one request, or to every one of its kind."""

    status: int
    body: Any
    kind: str = "application/json; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Api:
    """Answers by method and path; what it was asked is kept."""

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)
    headers: dict[str, str] = field(default_factory=dict)
    """Of the newest request."""
    url: str = ""
    folder: Path = field(default_factory=Path)
    compute: dict[str, Callable[[str], Answer]] = field(default_factory=dict)
    """What decides about an answer when it is asked for."""
    held: threading.Event | None = None
    """Nothing is answered before it is set."""
    _moved: threading.Condition = field(default_factory=threading.Condition)

    def says(self, request: str, *answers: Answer) -> None:
        """In this order; the last one repeats."""
        self.answers[request] = list(answers)

    def answer(self, request: str, body: Any) -> Answer:
        with self._moved:
            self.asked.append((request, body))
            self._moved.notify_all()
        if self.held:
            self.held.wait(DEADLINE)
        if request in self.compute:
            return self.compute[request](request)
        known = self.answers.get(request, [Answer(404, {"error": "Session not found"})])
        return known.pop(0) if len(known) > 1 else known[0]

    def wait_for(self, request: str) -> None:
        """Until it was asked."""
        with self._moved:
            asked = self._moved.wait_for(
                lambda: any(one == request for one, _ in self.asked), DEADLINE
            )
            assert asked, request


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128  # where it is full a client that does not block is refused

    def handle_error(self, *_: object) -> None:
        """A client that went away is no news."""

    def get_request(self) -> tuple[socket.socket, Any]:
        return super().get_request()[0], ("local", 0)  # the handler shows it as an address


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Api]:
    """The daemon of this folder, which is this process."""
    reported = Api(folder=folder)

    class Handler(http.server.BaseHTTPRequestHandler):
        def respond(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            reported.keys.add(self.headers.get("X-Api-Key"))
            reported.headers = dict(self.headers)
            answer = reported.answer(f"{self.command} {self.path}", body)
            content = (
                answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            )
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if content:  # without any the client may be gone already
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = respond  # noqa: N815  # the base's names

        def log_message(self, *_: object) -> None:
            pass

    (folder / "run").mkdir()
    with _Server(str(folder / "run" / LOCAL_SOCKET), Handler) as server:
        reported.url = "http://127.0.0.1:9"  # where nobody is to ask
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        write_pid_file(folder, reported.url)
        yield reported
        server.shutdown()
        thread.join()


def write_pid_file(folder: Path, url: str, pid: int | None = None) -> None:
    """As the daemon writes it; ``pid``: another process than this one is it."""
    me = pid or os.getpid()
    content = {
        "pid": me,
        "start_time": procfs.start_time(me),
        "boot_id": procfs.boot_id(),
        "api": url,
        "instance": "f00d",
    }
    (folder / "run" / "waguard.pid").write_text(json.dumps(content))


def said(capsys: pytest.CaptureFixture[str]) -> tuple[list[str], list[str]]:
    """Lines of stdout and of stderr."""
    reported = capsys.readouterr()
    return reported.out.splitlines(), reported.err.splitlines()
