"""Every command as root, as the daemon's user and as another user, where the daemon's folders belong to a
user of their own: whether it is done or refused, and whose everything is afterwards."""

import argparse
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.cli.rights import (
    BUNDLE,
    DAEMON,
    KEYS,
    OTHER,
    SHA256,
    Host,
    Seen,
    copied,
    give,
    host,
    private,
)
from tests.cli.test_sweep import stray
from tests.host.processes import others_can_run_this_python
from waguard.cli.keys import fingerprint
from waguard.cli.program import COMMANDS, parser

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to act for other users")

# these have folders of their own, and read no configuration
OF_THE_LAB: Final = ("demo", "lab cluster", "chaos", "standin", "phone")
# what these do the daemon does, on its own files; no daemon runs here
ASK_THE_DAEMON: Final = {
    "status": "",
    "top": "--once",
    "page": "",
    "why": "a",
    "incidents": "",
    "audit": "",
    "logs": "",
    "events": "",
    "reconcile": "",
    "database accept": "",
    "keys create": "shop --right read",
    "keys revoke": "shop --yes",
    "sessions create": "a",
    "sessions list": "",
    "sessions show": "a",
    "sessions start": "a",
    "sessions stop": "a",
    "sessions restart": "a",
    "sessions reconnect": "a",
    "sessions logout": "a --yes",
    "sessions delete": "a --yes",
    "sessions qr": "a --png qr.png",
    "sessions pair": "a +6281234567890",
    "sessions screenshot": "a page.png",
    "sessions proxy": "a",
    "sessions move": "a b",
    "hosts": "",
    "hosts forget": " b",
    "drain": "",
    "webhooks list": "",
    "webhooks held": "",
    "webhooks drop": "a",
    "webhooks show": "1",
    "webhooks replay": "1",
    "webhooks discard": "1 --yes",
    "webhooks unidentified": "",
    "messages list": "",
    "messages show": "1",
    "messages cancel": "1",
    "versions list": "",
    "versions pin": "1 --yes",
    "versions unpin": "--yes",
    "versions try": "1 --yes",
    "release groups": "--yes",
    "release webhooks": "--yes",
    "wajs list": "",
    "wajs try": "123456 --yes",
    "wajs use": "123456 --yes",
    "qr": "a",
    "passkey": "a --cancel",
    "send": "a +6281234567890 hello",
}
DONE, REFUSED = "done", "refused"
# arguments; as root, as the daemon's user, as another user
HERE: Final = {
    "sweep": ("", DONE, DONE, REFUSED),
    "doctor": ("--fix", REFUSED, REFUSED, REFUSED),  # something is wrong on such a host
    "config check": ("", REFUSED, DONE, REFUSED),  # a daemon that root runs would not start
    "config show": ("", DONE, DONE, DONE),
    "keys list": ("", DONE, DONE, REFUSED),
    "keys show": ("", DONE, DONE, REFUSED),
    "keys add": ("", DONE, DONE, REFUSED),
    "keys remove": (f"{fingerprint(KEYS[0])} --yes", DONE, DONE, REFUSED),
    "profile list": ("", DONE, DONE, REFUSED),
    "profile verify": ("restored", DONE, DONE, REFUSED),
    "profile snapshot": ("a", DONE, DONE, REFUSED),
    "profile restore": ("a", DONE, DONE, REFUSED),
    "profile quarantine": ("a", DONE, DONE, REFUSED),
    "import": ("--from {folder}/service", DONE, REFUSED, REFUSED),  # a folder of root's
    "backup": ("{folder}/state", DONE, DONE, REFUSED),
    "restore": ("{folder}/none.tar --old-host-is-dead", REFUSED, REFUSED, REFUSED),
    "wajs add": (f"{{folder}}/bundle.js --sha256 {SHA256}", DONE, DONE, REFUSED),
    "alerts test": ("", REFUSED, REFUSED, REFUSED),  # there is no destination
    "alerts failed": ("", DONE, DONE, DONE),
    "completion": ("bash", DONE, DONE, DONE),
    "help": ("", DONE, DONE, DONE),
}
USERS: Final = {"root": 0, "the daemon's user": DAEMON, "another user": OTHER}
# what each of these that are done leaves
MADE: Final = {
    "sweep": "run/waguard.lock",
    "profile list": "sessions/workspace_7/session-restored/waguard.lock",
    "profile verify": "sessions/workspace_7/session-restored/waguard.lock",
    "profile snapshot": "sessions/snapshots/workspace_7/session-a/*/manifest.json",
    "profile restore": "sessions/quarantine/a-*/Default",
    "profile quarantine": "sessions/quarantine/a-*/Default",
    "import": "sessions/workspace_7/session-b/Default",
    "backup": "state/waguard-*.tar",
    "wajs add": f"state/wajs/{SHA256}.js",
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Host:
    return host(tmp_path_factory.mktemp("host"))


@pytest.fixture
def made(template: Host, short_path: Path) -> Host:
    return copied(template, short_path)


def test_every_command_is_tried() -> None:
    listed = {*_commands(parser(*COMMANDS)), "hosts"}  # which is a command without a verb, too
    assert listed == {*HERE, *ASK_THE_DAEMON, *OF_THE_LAB, "run"}


def _commands(parsed: argparse.ArgumentParser, path: str = "") -> Iterator[str]:
    nested = [it for it in parsed._actions if isinstance(it, argparse._SubParsersAction)]
    if not nested:
        yield path
    for action in nested:
        for name, child in action.choices.items():
            yield from _commands(child, f"{path} {name}".strip())


def test_the_documents_table_is_this_one() -> None:
    text = (Path(__file__).parents[2] / "docs/security.md").read_text()
    _, _, rows = text.partition("## Who may run what\n")
    rows, _, _ = rows.partition("\n## ")
    cells = [
        [it.strip() for it in row.split("|")[1:-1]] for row in rows.splitlines() if "| `" in row
    ]
    found = {name: outcomes for names, *outcomes in cells for name in re.findall(r"`(.+?)`", names)}
    assert found == {command: outcomes for command, (_, *outcomes) in HERE.items()}


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("command", HERE)
def test_what_a_command_leaves_is_the_daemons_users(made: Host, command: str, user: str) -> None:
    arguments, *expected = HERE[command]
    before = made.seen()
    argv = arguments.format(folder=made.folder).split()
    code, said = made.run(*command.split(), *argv, user=USERS[user])
    after = made.seen()
    outcome = dict(zip(USERS, expected, strict=True))[user]
    assert code in ({0} if outcome == DONE else {1, 2, 5}), said
    assert "Traceback" not in said
    _require_owners(before, after)
    if outcome == REFUSED and command != "doctor":
        assert after == before
    elif command in MADE:
        assert list(made.folder.glob(MADE[command]))


def _require_owners(before: Seen, after: Seen) -> None:
    """What was there is as it was, but for what was moved; what is new is the daemon's user's alone."""
    assert {name: seen for name, seen in after.items() if name in before} == {
        name: seen for name, seen in before.items() if name in after
    }
    odd = [name for name, seen in after.items() if name not in before and not private(seen)]
    assert odd == []


def test_what_root_restores_is_the_daemons_users(made: Host) -> None:
    """On a host where no daemon has run: there is no runtime folder yet."""
    code, said = made.run("backup", str(made.folder / "asker"))
    assert code == 0, said
    [file] = (made.folder / "asker").glob("waguard-*.tar")
    assert (file.stat().st_uid, file.stat().st_mode & 0o777) == (0, 0o600)
    for path in made.owned:
        shutil.rmtree(path)
    for path in made.owned[:2]:
        path.mkdir(mode=0o700)
        os.chown(path, DAEMON, DAEMON)
    before = made.seen()
    restore = ("restore", str(file), "--old-host-is-dead")
    for user in (DAEMON, OTHER):  # the archive is root's
        assert made.run(*restore, user=user)[0] == 2
    code, said = made.run(*restore)
    assert code == 0, said
    _require_owners(before, made.seen())
    assert (made.folder / "sessions/workspace_7/session-a/Default").is_dir()
    assert (made.folder / "state/api-key").read_text().split() == [*KEYS]
    assert (made.folder / "run").is_dir()


@pytest.mark.parametrize("user", USERS)
def test_what_asks_the_daemon_leaves_nothing(made: Host, user: str) -> None:
    before = made.seen()
    commands = [[*name.split(), *arguments.split()] for name, arguments in ASK_THE_DAEMON.items()]
    codes = made.run_all(commands, user=USERS[user])
    assert dict(zip(ASK_THE_DAEMON, codes, strict=True)) == dict.fromkeys(ASK_THE_DAEMON, 1)
    assert made.seen() == before


def test_to_another_user_a_cutover_says_why_it_compares_nothing(made: Host) -> None:
    before = made.seen()
    code, said = made.run("doctor", "--cutover", user=OTHER)
    assert (code, made.seen()) == (2, before), said
    assert "this user may not look into" in said


@pytest.mark.parametrize("user", [0, OTHER])
def test_nobody_else_runs_a_daemon_there(made: Host, user: int) -> None:
    before = made.seen()
    assert made.run("run", user=user)[0] == 2
    assert made.seen() == before


@pytest.mark.parametrize("folder", ["run", "run/waguard/one"])
def test_a_missing_runtime_folder_that_root_makes_is_the_daemons_users(
    made: Host, folder: str
) -> None:
    """As after the installation, before the first start."""
    configuration = made.folder / "waguard.toml"
    text = configuration.read_text().replace(f"{made.folder}/run", f"{made.folder}/{folder}")
    configuration.write_text(text)
    shutil.rmtree(made.folder / "run")
    before = made.seen()
    assert made.run("sweep", user=OTHER)[0] == 2
    assert made.seen() == before
    code, said = made.run("sweep")
    assert code == 0, said
    _require_owners(before, made.seen())
    assert (made.folder / folder / "waguard.lock").exists()


def test_root_makes_no_runtime_folder_where_it_cannot(made: Host) -> None:
    shutil.rmtree(made.folder / "run")
    (made.folder / "run").symlink_to("nowhere/run")
    (made.folder / "nowhere").touch()
    before = made.seen()
    code, said = made.run("sweep")
    assert (code, made.seen()) == (2, before), said
    assert "paths.runtime" in said


LED_AWAY: Final = {
    "sweep": "run",
    "keys list": "state",
    "keys add": "state",
    "wajs add": "state",
    "profile list": "sessions",
    "profile verify": "sessions",
    "profile snapshot": "sessions",
    "profile restore": "sessions",
    "profile quarantine": "sessions",
    "import": "sessions",
}


@pytest.mark.parametrize("command", LED_AWAY)
def test_a_link_of_the_daemons_user_leads_root_nowhere(made: Host, command: str) -> None:
    """In the place of its folder, to one of root's that holds the same."""
    folder = made.folder / LED_AWAY[command]
    shutil.move(folder, made.folder / "roots")
    give(made.folder / "roots", 0)
    folder.symlink_to(made.folder / "roots")
    os.lchown(folder, DAEMON, DAEMON)
    before = made.seen()
    code, said = made.run(*command.split(), *HERE[command][0].format(folder=made.folder).split())
    assert (code in {1, 2}, made.seen()) == (True, before), said


@pytest.mark.skipif(not others_can_run_this_python(), reason="others cannot run this Python")
def test_root_sweeps_what_the_daemons_user_left(made: Host) -> None:
    with stray(made.folder, DAEMON) as process:
        code, said = made.run("sweep")
        assert (code, process.wait()) == (0, -signal.SIGTERM), said
    assert said.endswith("1 processes ended\n")


def test_a_link_in_the_state_gives_no_folder_of_roots_away(made: Host) -> None:
    """What `os.chown` follows."""
    roots = made.folder / "roots"
    roots.mkdir(mode=0o700)
    (made.folder / "state/wajs").rmdir()
    (made.folder / "state/wajs").symlink_to(roots)
    code, said = made.run("wajs", "add", f"{made.folder}/bundle.js", "--sha256", SHA256)
    assert (code, roots.stat().st_uid, list(roots.iterdir())) == (2, 0, []), said


def test_a_link_of_roots_that_leads_into_the_state_makes_nothing_of_roots_there(made: Host) -> None:
    linked = made.folder / "linked"
    linked.symlink_to("state/api-key")
    configuration = made.folder / "waguard.toml"
    text = configuration.read_text().replace("[api]", f'[api]\nkey_file = "{linked}"')
    configuration.write_text(text)
    code, said = made.run("keys", "add")
    assert code == 0, said
    assert linked.is_symlink()
    assert private(made.seen()["state/api-key"])
    assert len((made.folder / "state/api-key").read_text().split()) == len(KEYS) + 1


def test_a_link_of_roots_is_followed(made: Host) -> None:
    """A folder on another disk."""
    (made.folder / "state").rename(made.folder / "disk")
    (made.folder / "state").symlink_to("disk")
    code, said = made.run("wajs", "add", f"{made.folder}/bundle.js", "--sha256", SHA256)
    assert code == 0, said
    kept = made.folder / f"disk/wajs/{SHA256}.js"
    assert (kept.read_bytes(), kept.stat().st_uid) == (BUNDLE, DAEMON)
