"""What ``waguard logs`` does: finds the log, reads it in any of its formats, follows it.

Nothing here prints or parses arguments, and nothing heavy is imported: it answers at once.
"""

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, field

from waguard.core.text import logfmt
from waguard.errors import WaguardError, printable
from waguard.host.files.lock import read_pid_file
from waguard.host.process import procfs
from waguard.host.system.log_names import FIELDS, PRIORITIES
from waguard.host.system.service_needs import FOLDERS, UNIT

_STDERR: Final = 2
_STDERR_OF_JOURNAL: Final = "socket:[{}]"
_POLL: Final = 0.25  # s between two reads of a file
_TAIL: Final = 16 << 20  # bytes of a file that are searched for the newest lines
_SHOWN_FIRST: Final = ("at", "level", "event", "message", "traceback")


class JournalSource(Struct, frozen=True, kw_only=True):
    """The journal of a unit."""

    unit: str
    of_user: bool = False
    """The unit is one of the user's own service manager."""


class FileSource(Struct, frozen=True, kw_only=True):
    """What the daemon's standard error goes to."""

    path: Path


class Entry(Struct, frozen=True):
    """One line. ``fields`` as ``log.format = "json"`` has them; of what another program wrote, only
    ``message`` and what the journal knows."""

    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def level(self) -> int | None:
        """The entry's priority (0 is the most severe); None: it has none."""
        return PRIORITIES.get(str(self.fields.get("level")).upper())


class Wanted(Struct, frozen=True, kw_only=True):
    """Which lines: the newest ``lines``, of a session, of a level and those graver."""

    lines: int
    session: str | None = None
    level: str | None = None

    def __call__(self, entry: Entry) -> bool:
        """Whether it is one of them."""
        if self.session is not None and entry.fields.get("session") != self.session:
            return False
        return self.level is None or (
            entry.level is not None and entry.level <= PRIORITIES[self.level]
        )


class NoLogError(WaguardError):
    """There is none that could be read from here."""


# ---- where it is ----


def find(runtime: Path, root: Path = Path("/")) -> JournalSource | FileSource:
    """The log of the daemon that has this runtime folder; where none runs, of the installed unit. Raises
    ``NoLogError``."""
    try:
        holder = read_pid_file(runtime)
    except (
        OSError
    ):  # the folder is the daemon's user's: whoever may read the journal needs none of it
        holder = None
    if holder is None:
        if any((root / folder / UNIT).exists() for folder in FOLDERS):
            return JournalSource(unit=UNIT)
        raise NoLogError(
            f"no waguard runs with {runtime}, and no {UNIT} is installed",
            remedy="read the log of whatever starts waguard, or name its --config",
        )
    return _of_process(holder.pid)


def _of_process(pid: int) -> JournalSource | FileSource:
    try:
        unit = unit_of(Path(f"/proc/{pid}/cgroup").read_text())
    except OSError:
        unit = None
    try:
        target = str(Path(f"/proc/{pid}/fd/{_STDERR}").readlink())
    except OSError:  # another user's
        if unit:
            return unit
        raise NoLogError(
            f"waguard runs, pid {pid}, and not as a unit of systemd",
            remedy="run this as root or as its user, who see where its standard error goes",
        ) from None
    if unit and target == _STDERR_OF_JOURNAL.format(_journal_inode(pid)):
        return unit
    path = Path(f"/proc/{pid}/fd/{_STDERR}")
    if path.is_file():
        there = Path(target)
        return FileSource(path=there if there.exists() else path)  # removed, and still written
    raise NoLogError(
        f"waguard runs, pid {pid}, and its standard error is {target}: no journal and no file",
        remedy="read the log of whatever started it",
    )


def _journal_inode(pid: int) -> str:
    return procfs.environment(pid).get("JOURNAL_STREAM", "").partition(":")[2]


def unit_of(cgroup: str) -> JournalSource | None:
    """The unit that the text of /proc/PID/cgroup names; None: it is no service of systemd's."""
    for line in cgroup.splitlines():
        hierarchy, _, place = line.partition(":")
        controller, _, group = place.partition(":")
        name = group.rpartition("/")[2]
        if (hierarchy == "0" or controller == "name=systemd") and name.endswith(".service"):
            return JournalSource(unit=name, of_user="/user@" in group)
    return None


# ---- reading ----


def read(source: JournalSource | FileSource, wanted: Wanted, *, follow: bool) -> Iterator[Entry]:
    """The newest lines, the oldest first; then, where it is followed, what comes. Raises
    ``NoLogError``."""
    if isinstance(source, JournalSource):
        return _journal(source, wanted, follow=follow)
    return _file(source.path, wanted, follow=follow)


def _journal(source: JournalSource, wanted: Wanted, *, follow: bool) -> Iterator[Entry]:
    if not (program := shutil.which("journalctl")):
        raise NoLogError("journalctl is not installed", remedy="install systemd's tools")
    unit = "--user-unit" if source.of_user else "--unit"
    command = [program, "--no-pager", "--quiet", "--all", "--output=json", unit, source.unit]
    command += ["--lines", str(wanted.lines)]
    if wanted.level:
        command += ["--priority", str(PRIORITIES[wanted.level])]
    if wanted.session is not None:
        command += [f"SESSION={wanted.session}"]
    if follow:
        command += ["--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # noqa: S603 - its path is absolute
        assert process.stdout and process.stderr  # noqa: S101, PT018 - pipes
        try:
            for line in process.stdout:
                if wanted(entry := of_journal(json.loads(line))):
                    yield entry
            why = process.stderr.read().decode(errors="replace").split("\n")[0]
            if process.wait() or why:
                raise NoLogError(
                    printable(why or f"journalctl ended with {process.returncode}"),
                    remedy="run this as root, or as a member of the group systemd-journal",
                )
        finally:
            process.terminate()


def of_journal(found: dict[str, Any]) -> Entry:
    """An entry as ``journalctl -o json`` has it: ours, one of our lines on standard error, or
    another program's about the unit."""
    if isinstance(fields := found.get(FIELDS), str):
        with contextlib.suppress(ValueError, RecursionError):
            return Entry(json.loads(fields))
    message = found.get("MESSAGE")
    if isinstance(message, list):  # bytes that are no text
        message = bytes(message).decode(errors="replace")
    ours = of_line(str(message or ""))
    if "at" in ours.fields:
        return ours
    return Entry(
        {
            "at": _moment(found.get("__REALTIME_TIMESTAMP")),
            "level": _NAMES.get(str(found.get("PRIORITY"))),
            "message": message,
            **({"session": found["SESSION"]} if "SESSION" in found else {}),
            "program": found.get("SYSLOG_IDENTIFIER"),
        }
    )


_NAMES: Final = {
    **{str(number): "critical" for number in (0, 1, 2)},
    "3": "error",
    "4": "warning",
    "5": "info",
    "6": "info",
    "7": "debug",
}


def _moment(microseconds: Any) -> str | None:
    try:
        return datetime.fromtimestamp(int(microseconds) / 1e6, UTC).astimezone().isoformat()
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def of_line(line: str) -> Entry:
    """A line of a file, in either format; what is neither is its ``message``."""
    if line.startswith("{"):
        with contextlib.suppress(ValueError, RecursionError):
            if isinstance(found := json.loads(line), dict):
                return Entry(found)
    if (fields := logfmt.parse(line)) and "at" in fields:
        return Entry(fields)
    return Entry({"message": line})


def _file(
    path: Path, wanted: Wanted, *, follow: bool, pause: Callable[[float], None] = time.sleep
) -> Iterator[Entry]:
    """Also over a rotation: by a new file of the name, or by cutting this one off."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise NoLogError(f"{path} cannot be read: {error.strerror}") from None
    try:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
        rest = b""
        newest: deque[Entry] = deque(maxlen=wanted.lines)
        entries, rest = _whole(rest + file.read())
        newest.extend(filter(wanted, entries))
        yield from newest
        while follow:
            if not (content := file.read()):
                if _is_another(path, file.fileno()):
                    file.close()
                    file, rest = path.open("rb"), b""
                elif os.fstat(file.fileno()).st_size < file.tell():
                    file.seek(0)
                    rest = b""
                else:
                    pause(_POLL)
                continue
            entries, rest = _whole(rest + content)
            yield from filter(wanted, entries)
    finally:
        file.close()


def _whole(content: bytes) -> tuple[list[Entry], bytes]:
    """Lines that are written to their ends, and the beginning of the next one."""
    *lines, rest = content.split(b"\n")
    return [of_line(line.decode(errors="replace")) for line in lines], rest


def _is_another(path: Path, descriptor: int) -> bool:
    try:
        return not os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False  # between two files of the name


# ---- as a person reads it ----


def sentence(entry: Entry) -> str:
    """Time, level, what happened; then the fields, and the traceback on lines of its own."""
    fields = entry.fields
    rest = {
        key: value for key, value in fields.items() if key not in _SHOWN_FIRST and value is not None
    }
    if "event" in fields:
        rest["event"] = fields["event"]
    said = [
        *([str(fields["at"])] if fields.get("at") else []),
        *([str(fields["level"]).upper().ljust(7)] if fields.get("level") else []),
        printable(str(fields.get("message") or "")),
        *([logfmt.encode(rest)] if rest else []),
    ]
    lines = str(fields.get("traceback") or "").splitlines()
    return "\n".join([" ".join(said), *(f"    {printable(line)}" for line in lines)])
