"""What a systemd unit lets its service write and execute, and the drop-in that allows more. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What its files say of the file system: below ``hidden`` nothing of the host is seen, and with
    ``strict`` only what is below ``writable`` is written. Below ``inert`` nothing is executed, but for
    what is below ``executable``; the longer path wins."""

    writable: tuple[PurePosixPath, ...]
    hidden: tuple[PurePosixPath, ...]
    strict: bool
    inert: tuple[PurePosixPath, ...] = ()
    executable: tuple[PurePosixPath, ...] = ()

    def sees(self, path: PurePosixPath) -> bool:
        """Whether the service finds there what others find there."""
        return not any(path.is_relative_to(folder) for folder in self.hidden)

    def writes(self, path: PurePosixPath) -> bool:
        """Whether the service may write there, as far as the unit goes."""
        return not self.strict or any(path.is_relative_to(folder) for folder in self.writable)

    def executes(self, path: PurePosixPath) -> bool:
        """Whether the service may execute it, as far as the unit goes."""
        return _depth(path, self.executable) >= _depth(path, self.inert)


def _depth(path: PurePosixPath, folders: Sequence[PurePosixPath]) -> int:
    """Of the deepest of these that the path is below; 0: of none."""
    return max((len(it.parts) for it in folders if path.is_relative_to(it)), default=0)


def parse(texts: Sequence[str]) -> Unit:
    """The unit and its drop-ins, in their order."""
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
    """The text of a drop-in that lets the service write these, or execute them (ExecPaths)."""
    lines = [f'{setting}="{str(path).replace("%", "%%")}"' for path in paths]
    return "\n".join(["[Service]", *lines])


def unwritable(unit: Unit, wanted: Mapping[str, PurePosixPath]) -> dict[str, PurePosixPath]:
    """Those of the named folders that the service sees and may not write."""
    return {key: path for key, path in wanted.items() if unit.sees(path) and not unit.writes(path)}
