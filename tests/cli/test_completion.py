"""``waguard completion``, in the shells themselves."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.program import main
from waguard.cli.program import COMMANDS

# a daemon that knows three sessions, one of which another program named
WAGUARD = "waguard() { printf '%s\\n' alpha beta '$(touch stolen)'; }\n"


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


def run(shell: str, text: str, folder: Path) -> list[str]:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run(
        [
            shell,
            *(["-f"] if shell == "zsh" else ["--norc"] if shell == "bash" else ["--no-config"]),
            "-c",
            text,
        ],
        cwd=folder,
        env=os.environ | {"HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


CASES = [
    ("waguard s", {"status", "sessions", "send", "standin", "sweep"}),
    ("waguard sessions st", {"start", "stop"}),
    ("waguard sessions stop --al", {"--all"}),
    (
        "waguard sessions stop ",
        {
            *("alpha", "beta", "--all", "--workspace"),
            *("--json", "--timeout", "--config", "--help"),
        },
    ),
    ("waguard why al", {"alpha"}),
    ("waguard sessions create al", set()),
    ("waguard completion ", {"bash", "zsh", "fish", "--help"}),
]


@pytest.mark.parametrize(("line", "offered"), CASES)
def test_bash_is_offered_what_fits(
    line: str, offered: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = " ".join(f"'{word}'" for word in line.split(" "))
    asked = f"COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _waguard; echo ${{COMPREPLY[@]}}"
    text = f"{script('bash', capsys)}\n{WAGUARD}{asked}"
    assert set(run("bash", text, tmp_path)) == offered
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("line", "offered"), CASES)
def test_zsh_is_offered_what_fits(
    line: str, offered: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = " ".join(f"'{word}'" for word in line.split(" "))
    begin = line.rsplit(" ", maxsplit=1)[-1]
    fakes = "compdef() { :; }; _files() { :; }; compadd() { shift; print -l -- $@; }\n"
    asked = f"words=({words}); CURRENT=${{#words}}; _waguard"
    text = f"{fakes}{script('zsh', capsys)}\n{WAGUARD}{asked}"
    found = {word for word in run("zsh", text, tmp_path) if word.startswith(begin)}
    assert found == offered
    assert not (tmp_path / "stolen").exists()


@pytest.mark.parametrize(("line", "offered"), CASES)
def test_fish_is_offered_what_fits_and_runs_nothing(
    line: str, offered: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = "function waguard; printf '%s\\n' alpha beta '$(touch stolen)'; end\n"
    text = f"{fake}{script('fish', capsys)}\ncomplete -C '{line}'"
    assert set(run("fish", text, tmp_path)) == offered
    assert not (tmp_path / "stolen").exists()


def test_every_command_is_offered(capsys: pytest.CaptureFixture[str]) -> None:
    for shell in ("bash", "zsh", "fish"):
        text = script(shell, capsys)
        assert all(f"/{name}" in text for name in COMMANDS)
