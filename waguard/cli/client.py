"""The API as its command line uses it: plain HTTP, blocking, with the errors of the API.

Stdlib only, so that ``waguard status`` answers at once.
"""

import argparse
import contextlib
import http.client
import json
import math
import pwd
import socket
import time
from collections.abc import Iterator
from difflib import get_close_matches
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

from msgspec import Struct

from waguard.cli import context
from waguard.cli.waiting import Waiting
from waguard.config.sections import Config
from waguard.core.replace import replace
from waguard.errors import WaguardError
from waguard.host import configuration_file
from waguard.host.files.lock import read_pid_file
from waguard.host.system.listen import LOCAL_SOCKET

_OF_SERVERS: Final = range(500, 600)
LONGEST_PAUSE: Final = 60.0  # s that an answer may ask for
REASON_WITHIN: Final = 1.0  # s; who waits is not to wait for that, too


class ApiCallError(WaguardError):
    """The API answered with an error, or not at all. ``answered``: its HTTP status, else 0."""

    def __init__(
        self,
        message: str,
        *,
        answered: int,
        remedy: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy, retry_after=retry_after)
        self.answered = answered

    @property
    def passes(self) -> bool:
        """Whether the same request may succeed in a moment: the daemon is away, or busy."""
        busy = self.answered in {HTTPStatus.TOO_MANY_REQUESTS, *_OF_SERVERS}
        return busy or not self.answered


class NoAnswerError(ApiCallError):
    """Somebody listens, and does not answer. ``requested``: what was asked for may have been done."""

    def __init__(self, message: str, *, remedy: str, requested: bool = False) -> None:
        super().__init__(message, answered=0, remedy=remedy)
        self.requested = requested


class ApiClient(Struct, frozen=True):
    """Calls to one daemon, by its address and a key, or by its Unix socket without one."""

    base: str
    key: str
    local: Path | None = None
    within: float | None = None
    """Seconds for all that the command asks; None: each answer has its own deadline."""
    until: float = math.inf
    """When that is over, in monotonic seconds."""
    says_after: float | None = None
    """Seconds after which a person hears what is waited for; None: nobody listens."""

    @classmethod
    def of(cls, config: Config) -> Self:
        """The daemon of this configuration's runtime folder. Raises where none runs."""
        path = config.paths.runtime / LOCAL_SOCKET
        holder = read_pid_file(config.paths.runtime)
        try:
            path.lstat()
        except PermissionError:
            raise _denied(path) from None
        except OSError:
            if holder:
                raise ApiCallError(
                    f"waguard runs, pid {holder.pid}, and has no socket {path}",
                    answered=0,
                    remedy="it is starting, or of an earlier version: try again, else restart it",
                ) from None
            raise _nobody(path, "there is no socket") from None
        return cls(holder.api if holder else str(path), "", path)

    def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, timeout: float = 75.0
    ) -> Any:
        """The decoded JSON, or the bytes where it is none. Raises ``ApiCallError``."""
        with Waiting("waguard", lambda: None, after=self.says_after):
            return self._call(method, path, body, timeout)

    def _call(self, method: str, path: str, body: dict[str, Any] | None, timeout: float) -> Any:
        if self.left <= 0:
            raise self._late()
        connection = self._connection(min(timeout, self.left))
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["X-Api-Key"] = self.key
        requested = False
        try:
            self._connect(connection)
            requested = True
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._silent(error, requested=requested) from None
        finally:
            connection.close()
        return _decode(response, content)

    @contextlib.contextmanager
    def streaming(
        self, path: str, headers: dict[str, str], *, timeout: float
    ) -> Iterator[Iterator[bytes]]:
        """The lines of an answer that does not end, as they come; ``timeout``: s without any. Raises
        ``ApiCallError``."""
        connection = self._connection(timeout)
        try:
            self._connect(connection)
            key = {"X-Api-Key": self.key} if self.key else {}
            connection.request("GET", path, headers=headers | key)
            response = connection.getresponse()
            if response.status != http.client.OK:
                _decode(response, response.read())
            yield iter(response.readline, b"")
        except (OSError, http.client.HTTPException) as error:
            raise self._silent(error) from None
        finally:
            connection.close()

    @property
    def left(self) -> float:
        """Seconds that the command has left."""
        return self.until - time.monotonic()

    def _late(self, *, requested: bool = False) -> NoAnswerError:
        return NoAnswerError(
            f"{self.base} has not answered within {self.within:g} s",
            remedy="give it longer, --timeout; what was requested may go on",
            requested=requested,
        )

    def _silent(self, error: Exception, *, requested: bool = False) -> NoAnswerError:
        if isinstance(error, TimeoutError) and self.left <= 0:
            return self._late(requested=requested)
        why = str(error) or type(error).__name__
        return NoAnswerError(
            f"{self.base} does not answer: {why}", remedy="see its log", requested=requested
        )

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if self.local:
            return _LocalConnection(self.local, timeout)
        address = urlsplit(self.base)
        secure = address.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        return kind(address.hostname or "", address.port, timeout=timeout)

    def _connect(self, connection: http.client.HTTPConnection) -> None:
        try:
            connection.connect()
        except (FileNotFoundError, ConnectionRefusedError):
            if not self.local:
                raise
            raise _nobody(self.local, "nobody listens there") from None
        except PermissionError:
            if not self.local:
                raise
            raise _denied(self.local) from None

    def session(self, session_id: str, rest: str = "") -> str:
        """The path of a session's resource."""
        return f"/api/sessions/{quote(session_id, safe='')}{rest}"

    def one(self, session_id: str) -> "SessionClient":
        """Calls to what belongs to one session."""
        return SessionClient(self, session_id)

    def named(self, error: ApiCallError, session_id: str) -> ApiCallError:
        """The error, with the sessions that may be meant where it says that there is no such one."""
        if error.answered != HTTPStatus.NOT_FOUND or error.remedy:
            return error
        try:
            listed = self.call("GET", "/api/sessions?removed=1")["sessions"]
        except ApiCallError:
            return error
        close = get_close_matches(session_id, [it["session_id"] for it in listed])
        remedy = f"did you mean {' or '.join(close)}?" if close else "see `waguard sessions list`"
        message = f"{error.message}: {session_id}"
        return ApiCallError(message, answered=error.answered, remedy=remedy)


class SessionClient(Struct, frozen=True):
    """Calls to one session of a daemon."""

    client: ApiClient
    name: str

    def call(self, method: str, rest: str = "", body: dict[str, Any] | None = None) -> Any:
        """As ``ApiClient.call``; ``rest`` is what follows the session in the path."""
        try:
            with self.waiting(f"session {self.name}"):
                return self.client.call(method, self.client.session(self.name, rest), body)
        except ApiCallError as error:
            raise self.client.named(error, self.name) from None

    def waiting(self, what: str) -> Waiting:
        """Says what it waits for, and the session's first condition as the reason."""
        return Waiting(what, self._reason, after=self.client.says_after)

    def _reason(self) -> str | None:
        try:
            path = self.client.session(self.name, "/status")
            found = replace(self.client, until=math.inf).call("GET", path, timeout=REASON_WITHIN)
        except ApiCallError:
            return None
        first = next(iter(found.get("conditions") or ()), None)
        return str(first["message"]) if first else f"it is {found['status']}"


def connect(arguments: argparse.Namespace) -> ApiClient:
    """The daemon of the configuration that a command finds. Raises where none runs."""
    # a daemon that answers has decided where its files lie; where none does, they may be elsewhere
    found, reading = context.read(arguments)
    try:
        client = ApiClient.of(reading.config)
    except ApiCallError:
        configuration_file.require_nothing_left_behind(found, reading)
        raise
    return _bounded(client, arguments)


def elsewhere(base: str, key: str, arguments: argparse.Namespace) -> ApiClient:
    """A daemon that is called by its address, with a key."""
    return _bounded(ApiClient(base, key), arguments)


def _bounded(client: ApiClient, arguments: argparse.Namespace) -> ApiClient:
    within: float | None = getattr(arguments, "timeout", None)
    until = math.inf if within is None else time.monotonic() + within
    return replace(client, within=within, until=until, says_after=arguments.context.says_after)


def _decode(response: http.client.HTTPResponse, content: bytes) -> Any:
    status, kind = response.status, response.getheader("Content-Type", "")
    answer = _json(status, content) if kind.startswith("application/json") else content
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return answer
    fields = answer if isinstance(answer, dict) else {}
    field = f"{fields['field']}: " if fields.get("field") else ""
    raise ApiCallError(
        field + str(fields.get("error") or f"HTTP {status}"),
        answered=status,
        remedy=fields.get("remedy"),
        retry_after=_seconds(response.getheader("Retry-After", "")),
    )


def _seconds(text: str) -> float | None:
    """None: a proxy may say it as a date."""
    return min(float(text), LONGEST_PAUSE) if text.isdecimal() else None


def _json(status: int, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise ApiCallError(
            f"HTTP {status} with an answer that is not JSON",
            answered=status,
            remedy="is something between this machine and waguard?",
        ) from None


class _LocalConnection(http.client.HTTPConnection):
    """HTTP on a Unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = str(path)

    def connect(self) -> None:
        """See ``HTTPConnection``."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _nobody(path: Path, why: str) -> ApiCallError:
    return ApiCallError(
        f"no waguard runs here ({path}: {why})",
        answered=0,
        remedy="start it, `systemctl start waguard` or `waguard run`, or name its --config",
    )


def _denied(path: Path) -> ApiCallError:
    return ApiCallError(
        f"{path}: permission denied",
        answered=0,
        remedy=f"run this as {_allowed(path.parent)}",
    )


def _allowed(folder: Path) -> str:
    """Root, and the owner of the first folder above that can be read."""
    for path in (folder, *folder.parents):
        try:
            uid = path.stat().st_uid
        except OSError:
            continue
        try:
            name = pwd.getpwuid(uid).pw_name
        except KeyError:
            name = f"user {uid}"
        return f"root, or as {name}" if uid else "root"
    return "root, or as the daemon's user"
