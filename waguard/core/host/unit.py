"""What a systemd unit lets its service write and execute, and the drop-in that allows more. Pure."""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from msgspec import Struct

_SETTING: Final = re.compile(r"(?m)^[ \t]*(\w+)[ \t]*=[ \t]*(.*?)[ \t]*$")
_OFF: Final = frozenset({"no", "false", "off", "0"})
_HIDDEN_BY: Final = {
    "ProtectHome": ("/home", "/root", "/run/user"),
    "PrivateTmp": ("/tmp", "/var/tmp"),  # noqa: S108 - names, nothing is written there
}
_LISTS: Final = ("ReadWritePaths", "NoExecPaths", "ExecPaths")
_FOLDERS: Final = {
    "StateDirectory": "/var/lib",
    "CacheDirectory": "/var/cache",
    "LogsDirectory": "/var/log",
    "RuntimeDirectory": "/run",
}


class Unit(Struct, frozen=True, kw_only=True):
    """What a unit allows in the file system. Below ``hidden`` the service sees nothing of the host. With ``strict`` it
    may write only below ``writable``. Below ``inert`` nothing may be executed, except below ``executable``; the longer
    path wins."""

    writable: tuple[PurePosixPath, ...]
    hidden: tuple[PurePosixPath, ...]
    strict: bool
    inert: tuple[PurePosixPath, ...] = ()
    executable: tuple[PurePosixPath, ...] = ()

    def sees(self, path: PurePosixPath) -> bool:
        """Whether the service sees the host's files at this path."""
        return not any(path.is_relative_to(folder) for folder in self.hidden)

    def writes(self, path: PurePosixPath) -> bool:
        """Whether the unit lets the service write there."""
        return not self.strict or any(path.is_relative_to(folder) for folder in self.writable)

    def executes(self, path: PurePosixPath) -> bool:
        """Whether the unit lets the service execute it."""
        return _depth(path, self.executable) >= _depth(path, self.inert)


def _depth(path: PurePosixPath, folders: Sequence[PurePosixPath]) -> int:
    """The depth of the deepest of these folders that the path is below; 0: it is below none."""
    return max((len(it.parts) for it in folders if path.is_relative_to(it)), default=0)


def parse(texts: Sequence[str]) -> Unit:
    """Parse the unit and its drop-ins, in their order."""
    last: dict[str, str] = {}
    lists: dict[str, list[PurePosixPath]] = {name: [] for name in _LISTS}
    for text in texts:
        for name, value in _SETTING.findall(text.replace("\\\n", " ")):
            last[name] = value
            if name in lists:
                lists[name] = [*lists[name], *_paths(value)] if value else []
    writable = lists["ReadWritePaths"]
    for name, root in _FOLDERS.items():
        writable += [PurePosixPath(root, folder) for folder in last.get(name, "").split()]
    hidden = [
        PurePosixPath(folder)
        for name, folders in _HIDDEN_BY.items()
        if last.get(name, "no") not in _OFF
        for folder in folders
    ]
    strict = last.get("ProtectSystem") == "strict"
    return Unit(
        writable=tuple(writable),
        hidden=tuple(hidden),
        strict=strict,
        inert=tuple(lists["NoExecPaths"]),
        executable=tuple(lists["ExecPaths"]),
    )


def _paths(value: str) -> list[PurePosixPath]:
    found = re.findall(r'"([^"]*)"|(\S+)', value)
    names = [(quoted or bare).lstrip("-+").replace("%%", "%") for quoted, bare in found]
    return [PurePosixPath(name) for name in names]


def drop_in(paths: Sequence[PurePosixPath], setting: str = "ReadWritePaths") -> str:
    """The text of a drop-in that lets the service write these paths, and waits for their mounts, or lets it execute
    them (ExecPaths)."""
    quoted = [f'"{str(path).replace("%", "%%")}"' for path in paths]
    mounts = ["[Unit]", *(f"RequiresMountsFor={it}" for it in quoted)]
    lines = ["[Service]", *(f"{setting}={it}" for it in quoted)]
    return "\n".join([*mounts, *lines] if setting == "ReadWritePaths" else lines)


def unwritable(unit: Unit, wanted: Mapping[str, PurePosixPath]) -> dict[str, PurePosixPath]:
    """The named folders that the service sees and may not write."""
    return {key: path for key, path in wanted.items() if unit.sees(path) and not unit.writes(path)}
