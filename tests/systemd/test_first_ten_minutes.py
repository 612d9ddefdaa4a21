"""docs/first-ten-minutes.md, command by command, under a real systemd."""

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ports import reserved_port
from tests.systemd.namespace import SystemdNamespace, systemd_namespace
from tests.systemd.test_upgrade import WHEELS, wheels
from tests.systemd.unit import CHECKOUT, UNIT, why_not

__all__ = ["wheels"]

PAGE = CHECKOUT / "docs/first-ten-minutes.md"
WITHIN = "300"  # s for a command

# what others may use on this machine: the ports of the page
PORTS = ("3001", "8000", "8443", "8480")

pytestmark = [
    pytest.mark.long,
    pytest.mark.chromium,
    pytest.mark.timeout(900),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


@dataclass(frozen=True)
class Step:
    """A command, and lines that its output has, in this order."""

    command: str
    prints: tuple[str, ...]

    @property
    def pattern(self) -> str:
        """``…`` is anything within a line."""
        lines = [".*".join(map(re.escape, line.split("…"))) for line in self.prints]
        return "".join(rf"(?:.*\n)*?{line}.*\n" for line in lines)


def steps(page: str) -> Iterator[Step]:
    """The commands of its code blocks."""
    command, prints = "", list[str]()
    for line in [*re.findall(r"(?m)^    (.+)$", page), "$ "]:
        if line.startswith("$ "):
            if command:
                yield Step(command, tuple(prints))
            command, prints = line[2:], []
        elif line.startswith("> "):
            command += f"\n{line[2:]}"
        else:
            prints.append(line)


def test_the_page_is_read_as_it_is_meant() -> None:
    page = "Text\n\n    $ a <<E\n    > b\n    > E\n    one … two\n    three\n    $ c\n"
    first, second = steps(page)
    assert (first, second.command, second.prints) == (
        Step("a <<E\nb\nE", ("one … two", "three")),
        "c",
        (),
    )
    assert re.match(first.pattern, "zero\none (1) two\nthree\nfour\n")
    assert not re.match(first.pattern, "three\none 1 two\n")


@pytest.fixture
def systemd(wheels: Path) -> Iterator[SystemdNamespace]:
    binds = {CHECKOUT: str(CHECKOUT), Path(sys.prefix): sys.prefix, wheels: WHEELS}
    with systemd_namespace(binds) as namespace:
        yield namespace


def test_the_steps_of_the_page_work_as_written(systemd: SystemdNamespace) -> None:
    with contextlib.ExitStack() as stack:
        ports = {port: str(stack.enter_context(reserved_port())) for port in PORTS}
        for step in steps(PAGE.read_text()):
            perform(systemd, step, ports)
            if step.command == "make install":
                moved(systemd, ports)


def moved(systemd: SystemdNamespace, ports: dict[str, str]) -> None:
    """The configuration to the ports that are free here."""
    expression = f"s/^port = 3001/port = {ports['3001']}/; s/:8000/:{ports['8000']}/"
    systemd.run("sed", "-i", expression, "/etc/waguard/waguard.toml")


def perform(systemd: SystemdNamespace, step: Step, ports: dict[str, str]) -> None:
    """Once, as a person who pastes the block: what takes a while waits by itself."""
    text, pattern = step.command, step.pattern
    for shown, free in ports.items():
        text, pattern = text.replace(shown, free), pattern.replace(shown, free)
    text = re.sub(
        "waguard standin$", f"\\g<0> --port {ports['8443']} --phone-port {ports['8480']}", text
    )
    print(f"$ {text}")
    done = run(systemd, text, ports["8480"])
    is_done = done.returncode == 0 and re.match(pattern, f"{done.stdout}\n")
    assert is_done, f"{text}\n{done.stdout}{done.stderr}\n{systemd.journal(UNIT)[-3000:]}"
    print(done.stdout)


def run(systemd: SystemdNamespace, text: str, phone: str) -> "subprocess.CompletedProcess[str]":
    environment = (
        "PIP_NO_INDEX=1",
        f"PIP_FIND_LINKS={WHEELS}",
        f"WAGUARD_STANDIN=http://127.0.0.1:{phone}",
    )
    # what `make test-long` was given is not for the page's own make
    return systemd.run(
        *("env", "-u", "MAKEFLAGS", "-C", str(CHECKOUT), *environment),
        *("timeout", WITHIN, "bash", "-c", text),
    )
