"""The API as its command line uses it: plain HTTP, blocking, with the errors of the API.

Stdlib only, so that ``waguard status`` answers at once.
"""

import http.client
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

from waguard.config import Config
from waguard.errors import WaguardError
from waguard.host.lock import read_pid_file


class ApiCallError(WaguardError):
    """The API answered with an error, or not at all. ``answered``: its HTTP status, else 0."""

    def __init__(self, message: str, *, answered: int, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.answered = answered


@dataclass(frozen=True, slots=True)
class ApiClient:
    """Calls to one daemon."""

    base: str
    key: str

    @classmethod
    def of(cls, config: Config) -> Self:
        """The daemon of this configuration's runtime folder. Raises where none runs."""
        holder = read_pid_file(config.paths.runtime)
        if holder is None:
            raise ApiCallError(
                f"no waguard runs here (runtime folder {config.paths.runtime})",
                answered=0,
                remedy="start it with `waguard run`, or name its --config",
            )
        return cls(holder.api, _first_key(config.api.key_file))

    def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, timeout: float = 60.0
    ) -> Any:
        """The decoded JSON, or the bytes where it is none. Raises ``ApiCallError``."""
        address = urlsplit(self.base)
        connection = http.client.HTTPConnection(
            address.hostname or "", address.port, timeout=timeout
        )
        headers = {"X-Api-Key": self.key, "Content-Type": "application/json"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise ApiCallError(
                f"{self.base} does not answer: {str(error) or type(error).__name__}",
                answered=0,
                remedy="see its log",
            ) from None
        finally:
            connection.close()
        return _decode(response.status, response.getheader("Content-Type", ""), content)

    def session(self, session_id: str, rest: str = "") -> str:
        """The path of a session's resource."""
        return f"/api/sessions/{quote(session_id, safe='')}{rest}"


def _decode(status: int, kind: str, content: bytes) -> Any:
    answer = _json(status, content) if kind.startswith("application/json") else content
    if status < http.client.MULTIPLE_CHOICES:
        return answer
    told = answer if isinstance(answer, dict) else {}
    field = f"{told['field']}: " if told.get("field") else ""
    raise ApiCallError(
        field + str(told.get("error") or f"HTTP {status}"),
        answered=status,
        remedy=told.get("remedy"),
    )


def _json(status: int, content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        raise ApiCallError(
            f"HTTP {status} with an answer that is not JSON",
            answered=status,
            remedy="is something between this machine and waguard?",
        ) from None


def _first_key(path: Path) -> str:
    try:
        lines = [line.strip() for line in path.read_text(encoding="ascii").splitlines()]
    except OSError as error:
        raise ApiCallError(
            f"{path} cannot be read: {os.strerror(error.errno or 0)}",
            answered=0,
            remedy="run this as the daemon's user, or as root",
        ) from None
    except UnicodeDecodeError:
        raise ApiCallError(
            f"{path} holds something that is no key", answered=0, remedy="keys are ASCII text"
        ) from None
    return next((line for line in lines if line and not line.startswith("#")), "")
