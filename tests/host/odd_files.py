"""What may lie where a small file of ours should: as a crash, a full disk or somebody else left it."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

Spoil = Callable[[Path, bytes], None]
OTHER_USER: Final = 65_534
ROUNDS: Final = 300  # mutations of each file; seeded


def _link(path: Path, content: bytes) -> None:
    target = path.with_name("target")
    target.write_bytes(content)
    path.symlink_to(target)


def _other_owner(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    os.chown(path, OTHER_USER, OTHER_USER)


def _socket(path: Path, _: bytes) -> None:
    os.mknod(path, 0o140600)


SPOILT: Final[dict[str, Spoil]] = {
    "empty": lambda path, _: path.touch(),
    "a bad byte": lambda path, content: _put(path, content.replace(b"boot", b"bo\xff")),
    "garbage": lambda path, _: _put(path, random.Random(1).randbytes(600)),
    "truncated": lambda path, content: _put(path, content[: len(content) // 2]),
    "another type": lambda path, _: _put(path, b"[1, 2]"),
    "endless nesting": lambda path, _: _put(path, b'{"a":' * 10_000),
    "too big": lambda path, content: _put(path, content + b" " * (1 << 25)),
    "a folder": lambda path, _: path.mkdir(),
    "a pipe": lambda path, _: os.mkfifo(path),
    "a socket": _socket,
    "a link": _link,
    "a link to nothing": lambda path, _: path.symlink_to("nowhere"),
    "a link to itself": lambda path, _: path.symlink_to(path.name),
    "a link to a device": lambda path, _: path.symlink_to("/dev/zero"),
}
NEEDS_ROOT: Final[dict[str, Spoil]] = {"another owner": _other_owner}


def all_spoilt() -> dict[str, Spoil]:
    """Those that this user can make."""
    return SPOILT | (NEEDS_ROOT if os.geteuid() == 0 else {})


def _put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def mutations(content: bytes, *, seed: int = 1) -> Iterator[bytes]:
    """The content with a few bytes changed, cut out or doubled."""
    chance = random.Random(seed)
    for _ in range(ROUNDS):
        odd = bytearray(content)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(odd))
            match chance.randrange(3):
                case 0:
                    odd[at] = chance.randrange(256)
                case 1:
                    del odd[at : at + chance.randint(1, 20)]
                case _:
                    odd[at:at] = odd[at : at + chance.randint(1, 20)]
            if not odd:
                break
        yield bytes(odd)


def refuse(patch: pytest.MonkeyPatch, path: Path, code: int) -> None:
    """The system opens everything but this file."""
    opened = os.open

    def opening(name: Any, *rest: Any, **more: Any) -> int:
        if name == path:
            raise OSError(code, os.strerror(code))
        return opened(name, *rest, **more)

    patch.setattr(os, "open", opening)


def hide(patch: pytest.MonkeyPatch, path: Path, code: int) -> list[Path]:
    """The system does not say whether this file is there; it grows with each time that it is asked."""
    asked, times = os.stat, list[Path]()

    def asking(name: Any, *rest: Any, **more: Any) -> os.stat_result:
        if name == path:
            times.append(path)
            raise OSError(code, os.strerror(code))
        return asked(name, *rest, **more)

    patch.setattr(os, "stat", asking)
    return times
