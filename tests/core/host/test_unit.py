from pathlib import Path, PurePosixPath

import pytest

from waguard.core.host.unit import Unit, drop_in, parse, unwritable
from waguard.host.process.executable import BINARIES

SHIPPED = (Path(__file__).parents[3] / "systemd/waguard.service").read_text()


def at(path: str) -> PurePosixPath:
    return PurePosixPath(path)


@pytest.mark.parametrize(
    ("path", "sees", "writes"),
    [
        ("/var/lib/waguard/sessions", True, True),
        ("/run/waguard", True, True),
        ("/var/lib/waguard2", True, False),
        ("/srv/wa", True, False),
        ("/home/me/wa", False, False),
        ("/root", False, False),
        ("/run/user/0/wa", False, False),
        ("/tmp/wa", False, False),
        ("/tmpfiles", True, False),
    ],
)
def test_the_shipped_unit(path: str, *, sees: bool, writes: bool) -> None:
    unit = parse([SHIPPED])
    assert (unit.sees(at(path)), unit.writes(at(path))) == (sees, writes)


@pytest.mark.parametrize("path", ["/srv/wa", "/srv/wa data", "/srv/50%", "/srv/a/b"])
def test_what_the_drop_in_says_is_what_was_wanted(path: str) -> None:
    added = drop_in([at(path), at("/mnt/x")])
    unit = parse([SHIPPED, added])
    assert unit.writes(at(path) / "below")
    assert unit.writes(at("/mnt/x"))
    assert not unit.writes(at("/srv"))


@pytest.mark.parametrize(
    ("path", "executes"),
    [
        *((binary, True) for binaries in BINARIES.values() for binary in binaries),
        ("/opt/waguard/current/bin/waguard", True),
        ("/usr/local/bin/chrome", True),
        ("/opt/chromium/chrome", False),
        ("/var/lib/waguard/chrome", False),
    ],
)
def test_what_the_shipped_unit_executes(path: str, *, executes: bool) -> None:
    assert parse([SHIPPED]).executes(at(path)) is executes


def test_a_drop_in_lets_it_execute_more() -> None:
    unit = parse([SHIPPED, drop_in([at("/opt/my browser")], "ExecPaths")])
    assert unit.executes(at("/opt/my browser/chrome"))
    assert not unit.executes(at("/opt/chrome"))
    assert parse(["[Service]\nNoExecPaths=/opt\n"]).executes(at("/srv/chrome"))


def test_later_files_beat_earlier_ones() -> None:
    assert parse([SHIPPED, "[Service]\nProtectHome=no\n"]).sees(at("/home/me"))
    assert not parse([SHIPPED, "[Service]\nProtectHome=no\n"]).writes(at("/home/me"))
    assert parse([SHIPPED, "[Service]\nProtectSystem=full\n"]).writes(at("/srv"))
    emptied = [
        "[Service]\nReadWritePaths=/a\n",
        "[Service]\nReadWritePaths=\nReadWritePaths=-/b +/c\n",
    ]
    assert parse([SHIPPED, *emptied]).writes(at("/b"))
    assert parse([SHIPPED, *emptied]).writes(at("/c"))
    assert not parse([SHIPPED, *emptied]).writes(at("/a"))


def test_only_what_is_seen_and_closed_is_asked_for() -> None:
    unit = Unit(writable=(at("/a"),), hidden=(at("/h"),), strict=True)
    wanted = {"open": at("/a/x"), "hidden": at("/h/x"), "closed": at("/c")}
    assert unwritable(unit, wanted) == {"closed": at("/c")}
