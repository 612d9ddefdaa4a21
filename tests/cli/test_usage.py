import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.fake_api import Api
from tests.cli.program import main
from tests.host.processes import clean_environment, waguard
from waguard import __version__
from waguard.cli import program
from waguard.cli.program import parser

COMMANDS = [
    *("run", "demo", "chaos", "standin", "phone", "status", "sessions", "qr", "send"),
    *("sessions create", "sessions list", "sessions delete", "sessions logout"),
    *("sessions stop", "sessions start", "sessions restart", "sessions show", "sessions qr"),
    *("sessions pair", "sessions screenshot"),
]


def code_of(*arguments: str) -> object:
    """The exit code, also where argparse ends the program itself."""
    try:
        return main(arguments)
    except SystemExit as ended:
        return ended.code


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(*command.split(), "--help") == 0
    reported = capsys.readouterr()
    assert reported.out.startswith("usage: ")
    assert len(reported.out) > 100
    assert reported.err == ""


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("--help") == 0
    reported = capsys.readouterr().out
    for command in COMMANDS[:9]:
        assert re.search(rf"(?m)^\s+{command}\s", reported), command
    assert "Exit codes" in reported


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["why", "a\udcff"], "session"),
        (["sessions", "stop", "a", "b\udcff"], "sessions"),
        (["send", "a", "62811", "h\udcff"], "text"),
        (["hosts", "forget", "\udcff"], "host"),
        (["drain", "\udcff"], "host"),
        (["messages", "list", "--session", "\udcff"], "session"),
        (["webhooks", "replay", "--chat", "a", "\udcff@lid"], "chat"),
        (["passkey", "a", "--confirm", "\udcff"], "confirm"),
    ],
    ids=lambda it: it[0] if isinstance(it, list) else None,
)
def test_an_argument_that_is_not_utf_8_is_named(
    api: Api, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"waguard: {named}: ")
    assert "is not UTF-8" in err
    assert api.asked == []


def test_a_path_may_be_something_else_than_utf_8(
    short_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = short_path / "\udcff.toml"
    named.write_text("[log]\nlevel = 'DEBUG'\n")
    assert main(["config", "check", "--config", str(named)]) == 0


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("--version") == 0
    assert capsys.readouterr().out == f"waguard {__version__}\n"
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        ([], "COMMAND"),
        (["nonsense"], "'nonsense'"),
        (["sessions"], "VERB"),
        (["sessions", "nonsense"], "'nonsense'"),
        (["sessions", "create"], "session"),
        (["sessions", "create", "a", "--workspace", "one"], "'one'"),
        (["send", "a", "6281"], "text"),
        (["qr"], "session"),
        (["run", "--nonsense"], "--nonsense"),
        (["run", "--config"], "--config"),
        (["demo", "extra"], "extra"),
        (["demo", "--port", "x"], "'x'"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2_with_the_usage(
    arguments: list[str], printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("usage: waguard")
    assert printed in error


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["statsu"], "did you mean status?"),
        (["session"], "did you mean sessions or versions?"),
        (["sessions", "listt"], "did you mean list or start?"),
        (["webhooks", "list", "--state", "deadd"], "did you mean dead?"),
        (["sessions", "zzz"], "known: create, list"),
        (["sessions", "delete", "a", "--purges"], "did you mean --purge?"),
        (["sessions", "delete", "a", "--zzzz"], "usage: waguard sessions delete"),
    ],
    ids=" ".join,
)
def test_the_nearest_word(
    arguments: list[str], printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(*arguments) == 2
    assert printed in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["sessions", "list", "--json"],
        ["sessions", "create", "a"],
        ["sessions", "delete", "a", "--yes"],
        ["sessions", "logout", "a", "--yes"],
        ["sessions", "restart", "a"],
        ["sessions", "show", "a"],
        ["sessions", "pair", "a", "6281"],
        ["sessions", "qr", "a"],
        ["sessions", "screenshot", "a"],
        ["sessions", "stop", "a"],
        ["sessions", "start", "a"],
        ["qr", "a"],
        ["send", "a", "6281", "hello"],
    ],
    ids=" ".join,
)
def test_where_no_daemon_runs(
    arguments: list[str],
    short_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(short_path)
    assert code_of(*arguments) == 1
    reported = capsys.readouterr()
    assert reported.out == ""
    (line,) = reported.err.splitlines()
    assert line.startswith("waguard: no waguard runs here")
    assert str(short_path / "run") in line
    assert "waguard run" in line
    assert list(short_path.iterdir()) == []  # a question leaves nothing behind


def test_the_same_as_a_process(short_path: Path) -> None:
    asked = waguard("status", folder=short_path)
    assert asked.returncode == 1
    assert asked.stdout == ""
    assert len(asked.stderr.splitlines()) == 1


def test_a_client_command_with_a_wrong_configuration(
    short_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = short_path / "w.toml"
    path.write_text("[api]\nprot = 1")
    assert code_of("status", "--config", str(path)) == 2
    assert capsys.readouterr().err.startswith("waguard: api.prot: unknown key (value 1)")
    assert code_of("status", "--config", str(short_path / "missing")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be read" in line


def test_the_installed_program_is_the_same_one() -> None:
    program = Path(sys.executable).parent / "waguard"
    if not program.exists():
        pytest.skip("waguard is not installed beside this interpreter")
    asked = subprocess.run(
        [program, "nonsense"], env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert asked.returncode == 2
    assert "nonsense" in asked.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root has to give up the sandbox")
def test_root_reads_in_one_line_how_to_go_on(short_path: Path) -> None:
    done = waguard("run", folder=short_path, environ={"WAGUARD_BROWSER__SANDBOX": "true"})
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("waguard: browser.sandbox: ")
    assert "WAGUARD_BROWSER__SANDBOX=false" in line
    assert list(short_path.iterdir()) == []


# they run, are for people's eyes, or print something that is no value
WITHOUT_JSON = {
    *("run", "demo", "lab cluster", "chaos", "standin", "phone", "top", "completion", "help"),
    *("keys show", "sessions screenshot", "passkey"),
}


def leaves(parser: argparse.ArgumentParser, path: str = "") -> Iterator[tuple[str, set[str]]]:
    """Every command that does something, and its options."""
    inner = [it for it in parser._actions if isinstance(it, argparse._SubParsersAction)]
    if not inner:
        yield path.strip(), {name for it in parser._actions for name in it.option_strings}
    for action in inner:
        for name, one in action.choices.items():
            yield from leaves(one, f"{path} {name}")


def test_every_command_speaks_to_machines() -> None:
    known = dict(leaves(parser(*program.COMMANDS)))
    assert {name for name, options in known.items() if "--json" not in options} == WITHOUT_JSON


def test_what_cannot_be_taken_back_and_what_loads_pages_for_a_version_has_a_yes() -> None:
    known = dict(leaves(parser(*program.COMMANDS)))
    assert {name for name, options in known.items() if "--yes" in options} == {
        *("sessions logout", "sessions delete", "webhooks discard"),
        *("keys remove", "keys revoke", "release groups", "release webhooks"),
        *("versions pin", "versions unpin", "versions try", "wajs try", "wajs use"),
    }


@pytest.mark.parametrize("noun", ["sessions", "webhooks", "config"])
def test_a_noun_alone_lists_its_verbs(noun: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([noun]) == 2
    assert f"usage: waguard {noun}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "printed"),
    [(["help"], "COMMAND"), (["help", "sessions"], "start"), (["help", "qr"], "--raw")],
)
def test_help_is_a_command(
    words: list[str], printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(*words) == 0
    assert printed in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["--config", "f.toml", "config", "check"],
        ["config", "--config", "f.toml", "check"],
        ["config", "check", "--config", "f.toml"],
        ["--config=f.toml", "config", "check"],
    ],
    ids=" ".join,
)
def test_the_configuration_may_stand_anywhere(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert "f.toml" in capsys.readouterr().err, "there is no such file"


def test_a_warning_of_python_is_one_line_without_control_characters() -> None:
    program = (
        "import warnings; from waguard.cli import completion, main;"
        r"completion._completion = lambda _: warnings.warn('a header: \x1b[2J\n') or 0;"
        "main(['completion', 'bash'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "waguard: a header: \\x1b[2J\\n\n")
