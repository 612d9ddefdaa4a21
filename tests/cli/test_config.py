"""``waguard config``, and the document about the configuration."""

import json
import os
import pwd
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import configuration_docs
from tests.cli.program import main
from tests.host.processes import waguard
from waguard.cli import config_commands
from waguard.config.sections import SECTIONS
from waguard.errors import ConfigError
from waguard.host import configuration_file
from waguard.host.configuration_file import Found
from waguard.host.system.service_needs import USER

UNIT = Path(__file__).parents[2] / "systemd/waguard.service"


@pytest.fixture(autouse=True)
def here(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with no file of this machine's behind it."""
    monkeypatch.chdir(short_path)
    return short_path


def test_the_document_is_the_one_that_is_generated() -> None:
    assert configuration_docs.TARGET.read_text() == configuration_docs.text(), (
        "run: python -m tests.configuration_docs"
    )


# ---- show ----


def shown(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["config", "show", "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_each_key_is_shown_with_its_source(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "waguard.toml").write_text(
        "[api]\nport = 4000\nhost = '::1'\n[paths]\nstate = 's'\n[send]\ngap = [1, 2]"
    )
    monkeypatch.setenv("WAGUARD_API__PORT", "5000")
    monkeypatch.setenv("WAGUARD_LOG__LEVEL", "DEBUG")
    answer = shown(capsys)
    assert answer["file"] == str(here / "waguard.toml")
    rows = {row.pop("key"): row for row in answer["keys"]}
    assert rows.keys() == {f"{s}.{key}" for s in SECTIONS for key in SECTIONS[s].__struct_fields__}
    for key, value, source, default, hidden in (
        ("api.port", "5000", "environment", "3001", "4000"),
        ("api.host", "::1", "file", "127.0.0.1", None),
        ("log.level", "DEBUG", "environment", "INFO", None),
        ("paths.state", str(here / "s"), "file", "state", None),
        ("api.key_file", str(here / "s/api-key"), "default", "<paths.state>/api-key", None),
        ("send.gap", "[1.0, 2.0]", "file", "[0.0, 0.0]", None),
        ("webhook.hold", "true", "default", "true", None),
        ("webhook.url", "-", "default", "-", None),
    ):
        wanted = {"value": value, "source": source, "default": default, "hidden": hidden}
        assert rows[key] == wanted, key


def test_a_person_sees_what_hides_what(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = here / "waguard.toml"
    path.write_text("[api]\nport = 4000")
    monkeypatch.setenv("WAGUARD_API__PORT", "5000")
    assert main(["config", "show"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"file: {path}"
    assert out[1].split() == ["KEY", "VALUE", "SOURCE", "DEFAULT"]
    assert ["api.port", "5000", "environment", "3001"] in [line.split() for line in out]
    assert out[-1] == f"WAGUARD_API__PORT=5000 of the environment hides api.port = 4000 of {path}"


def test_no_password_is_shown(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "waguard.toml").write_text(
        "[database]\nurl = 'mysql+asyncmy://me:sesame@db/wa?password=sesame'\n"
        "[browser]\nextra_args = ['--proxy-pac-url=http://me:sesame@proxy']\n"
        "[webhook]\nurl = 'http://me:sesame@host/?token=sesame'"
    )
    assert main(["config", "show"]) == 0
    out = capsys.readouterr().out
    assert "mysql+asyncmy://me:***@db/wa?password=***" in out
    assert "sesame" not in out


def test_without_a_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys)["file"] is None


# ---- check ----


def test_a_good_file_is_ok(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check"]) == 0
    assert capsys.readouterr().out == "no file, defaults: ok\n"
    (here / "waguard.toml").touch()
    assert main(["config", "check"]) == 0
    assert capsys.readouterr().out == f"{here / 'waguard.toml'}: ok\n"


def test_a_hidden_key_is_said(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "waguard.toml").write_text("[api]\nport = 1")
    monkeypatch.setenv("WAGUARD_API__PORT", "2")
    assert main(["config", "check"]) == 0
    assert "hides api.port = 1" in capsys.readouterr().out


def test_what_the_daemon_would_end_with(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = here / "waguard.toml"
    path.write_text("[api]\nprot = 1")
    assert main(["config", "check"]) == 2
    assert "api.prot" in capsys.readouterr().err
    path.write_text("")
    (here / "state").mkdir(mode=0o700)
    (here / "state").chmod(0o755)
    assert main(["config", "check"]) == 2
    assert f"chmod 700 {here / 'state'}" in capsys.readouterr().err
    (here / "elsewhere").mkdir()
    (here / "sessions/workspace_1/session-a").mkdir(parents=True)
    named = here / "elsewhere/w.toml"
    named.touch()
    assert main(["config", "check", "--config", str(named)]) == 2
    assert f"{here}/elsewhere/sessions" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("api-key", b"short\n", "api-key holds no key, or one of fewer than 16 characters"),
        ("api-key", b"# none\n", "api-key holds no key"),
        ("api-key", b"\xff\xfe", "api-key cannot be used: it is not ASCII text"),
        ("secret", None, "secret cannot be read: No such file"),
        ("secret", b"one\ntwo\nthree\n", "secret has 3 lines"),
    ],
)
def test_a_file_of_keys_or_secrets_that_the_daemon_would_end_with(
    here: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes | None, why: str
) -> None:
    """One that runs has kept what it read before, and an upgrade goes by this check."""
    file = keys_and_secrets(here)[name]
    assert main(["config", "check"]) == 0
    file.unlink() if content is None else file.write_bytes(content)
    assert main(["config", "check"]) == 2
    assert why in capsys.readouterr().err


def test_a_file_without_keys_or_secrets_is_said(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A start with them succeeds, and the application notices."""
    for file in keys_and_secrets(here).values():
        file.write_bytes(b"")
    assert main(["config", "check"]) == 0
    secret, key, _ = capsys.readouterr().out.splitlines()
    assert "secret (webhook.secret_file) is empty: after a start webhooks are not signed" in secret
    assert "api-key (api.key_file) is empty: a start makes a key, and refuses all others" in key


def keys_and_secrets(here: Path) -> dict[str, Path]:
    """Good ones, named in the configuration."""
    files = {"api-key": here / "state/api-key", "secret": here / "secret"}
    (here / "waguard.toml").write_text(f"[webhook]\nsecret_file = '{files['secret']}'")
    (here / "state").mkdir(mode=0o700)
    for file in files.values():
        file.write_bytes(b"of sixteen characters\n")
        file.chmod(0o600)
    return files


def test_the_daemon_refuses_to_forget_profiles(here: Path) -> None:
    """With the exit code and the one line of a wrong configuration."""
    (here / "sessions/workspace_1/session-a").mkdir(parents=True)
    (here / "elsewhere").mkdir()
    (here / "elsewhere/w.toml").touch()
    done = waguard("run", "--config", "elsewhere/w.toml", folder=here)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("waguard: paths.sessions: there are profiles in ")
    assert str(here / "sessions") in line
    assert str(here / "elsewhere/sessions") in line
    assert not (here / "elsewhere/run").exists()


# ---- check, where the unit is installed ----


@dataclass
class Check:
    """Checks a file with some content in place of the installed one, and keeps what was said."""

    root: Path
    said: list[str] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.root / "etc/waguard.toml"

    def __call__(self, text: str, user: str = USER) -> list[str]:
        self.said.clear()
        self.file.write_text(text)
        found, reading = configuration_file.read(None, {}, system_file=self.file)
        config_commands.check(found, reading, self.said.append, root=self.root, user=user)
        return self.said


@pytest.fixture
def unit(here: Path) -> Path:
    """The unit's drop-ins; its user is not this machine's."""
    folder = here / "etc/systemd/system"
    folder.mkdir(parents=True)
    (folder / "waguard.service").write_text(UNIT.read_text())
    drop_ins = folder / "waguard.service.d"
    drop_ins.mkdir()
    return drop_ins


@pytest.fixture
def check(here: Path, unit: Path) -> Check:
    return Check(here)


def paths(folder: str) -> str:
    return f"[paths]\nsessions = '{folder}/sessions'\nstate = '{folder}/state'\nruntime = '/run/waguard'"


def test_the_shipped_file_fits_the_shipped_unit(check: Check) -> None:
    shipped = configuration_docs.SOURCE.read_text()
    assert check(shipped) == [f"{check.file}: ok"]


def test_other_folders_need_the_drop_in_that_is_printed(check: Check, unit: Path) -> None:
    elsewhere = paths("/srv/no such folder")
    with pytest.raises(ConfigError, match="cannot be written by waguard") as refused:
        check(elsewhere)
    said = check.said
    assert refused.value.field == "paths.sessions"
    assert "install -d -o waguard -g waguard -m 0700 '/srv/no such folder/sessions'" in said[0]
    assert "systemctl daemon-reload" in said[1]
    (unit / "paths.conf").write_text(said[2])
    assert check(elsewhere)[-1].endswith("ok")


def test_a_copy_of_chromium_is_executed(check: Check, unit: Path) -> None:
    text = f"[browser]\nkeep_previous = true\n{paths('/var/lib/waguard')}"
    with pytest.raises(ConfigError, match="cannot be executed by waguard") as refused:
        check(text)
    assert refused.value.field == "browser.keep_previous"
    made, _, drop_in = check.said
    assert "install -d -o waguard -g waguard -m 0700 /var/lib/waguard/state/chromium" in made
    (unit / "browser.conf").write_text(drop_in)
    assert check(text)[-1].endswith("ok")


def test_so_does_the_unit_of_backups(check: Check, unit: Path) -> None:
    elsewhere = paths("/srv/wa")
    (unit / "paths.conf").write_text("[Service]\nReadWritePaths=/srv/wa\n")
    shipped = UNIT.with_name("waguard-backup.service")
    (unit.parent / shipped.name).write_text(shipped.read_text())
    said, text, end = check(elsewhere)
    assert "/etc/systemd/system/waguard-backup.service.d/paths.conf" in said
    assert "ReadWritePaths" in text
    assert end.endswith("ok")  # no daemon ends for it
    drop_ins = unit.with_name("waguard-backup.service.d")
    drop_ins.mkdir()
    (drop_ins / "paths.conf").write_text(text)
    assert check(elsewhere) == [end]
    assert check(f"{paths('/var/lib/waguard')}\n") == [end]


@pytest.mark.parametrize("folder", ["/home/me/wa", "/root/wa", "/var/tmp/wa"])
def test_a_folder_that_the_unit_does_not_see(check: Check, folder: str) -> None:
    with pytest.raises(ConfigError, match="is hidden from waguard"):
        check(paths(folder))


def test_a_link_to_another_disk_is_checked_by_where_it_leads(check: Check, unit: Path) -> None:
    (unit / "a.conf").write_text("[Service]\nPrivateTmp=no\n")
    link = unit.parents[3] / "link"
    link.symlink_to("/srv/disk")
    with pytest.raises(ConfigError, match="/srv/disk"):
        check(paths(str(link)))


def test_a_database_elsewhere_is_written_too(check: Check) -> None:
    database = "\n[database]\nurl = 'sqlite+aiosqlite:////srv/db/w.db'"
    with pytest.raises(ConfigError, match="/srv/db") as refused:
        check(paths("/var/lib/waguard") + database)
    assert refused.value.field == "database.url"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to ask for another user")
def test_root_asks_for_the_units_user(check: Check, here: Path) -> None:
    other = pwd.getpwnam("nobody")
    secret = here / "secret"
    secret.touch(0o600)
    text = paths("/var/lib/waguard") + f"\n[webhook]\nsecret_file = '{secret}'"
    assert check(text, "nobody")
    os.chown(secret, other.pw_uid, other.pw_gid)
    here.chmod(0o711)
    assert check(text, "nobody"), "its own"
    os.chown(secret, 12345, 12345)
    with pytest.raises(ConfigError, match="belongs to user 12345"):
        check(text, "nobody")


def test_a_key_that_hosts_share_is_read(here: Path) -> None:
    found, key = Found(path=here / "w.toml", by="--config"), here / "key"
    database = f"[database]\nurl = 'postgresql+asyncpg://db/x'\nkey_file = '{key}'\n"
    said: list[str] = []

    def check(more: str) -> None:
        (here / "w.toml").write_text(database + more)
        config_commands.check(*configuration_file.read(found.path, {}), said.append, root=here)

    with pytest.raises(ConfigError, match="key cannot be read"):
        check("[lease]\nstandby = true")
    key.write_text("ab" * 32)
    key.chmod(0o600)
    check("[lease]\nstandby = true")
    check("")
    end = f"{found.path}: ok"
    assert said == [end, "database.key_file has no effect without lease.standby", end]


def test_what_a_cluster_names_is_read(here: Path) -> None:
    found, key, user = Found(path=here / "w.toml", by="--config"), here / "key", here / "user"
    (here / "w.toml").write_text(
        f"""
        database = {{url = 'postgresql+asyncpg://db/x'}}
        [cluster]
        engine = "etcd"
        endpoints = ["http://etcd1:2379"]
        host = "a"
        address = "http://10.0.0.1:3001"
        key_file = "{key}"
        user_file = "{user}"
        """
    )
    said: list[str] = []
    for path in (key, user):
        path.touch(0o600)
        path.write_text("waguard")
    for path, content in ((key, "ab" * 32), (user, "waguard:sesame")):
        with pytest.raises(ConfigError) as refused:
            config_commands.check(*configuration_file.read(found.path, {}), said.append, root=here)
        assert refused.value.field == f"cluster.{path.name}_file"
        path.write_text(content)
    config_commands.check(*configuration_file.read(found.path, {}), said.append, root=here)
    user.chmod(0o644)
    with pytest.raises(ConfigError) as refused:
        config_commands.check(*configuration_file.read(found.path, {}), said.append, root=here)
    assert refused.value.field == "cluster.user_file"
    assert [it.partition(" ")[0] for it in said if it != f"{found.path}: ok"] == [
        "api.public_url",
        f"{here / 'state/api-key'}",
        "cluster.endpoints",
    ]


def test_another_file_than_the_units_is_not_the_units(check: Check, here: Path) -> None:
    found = Found(path=here / "w.toml", by="--config")
    (here / "w.toml").write_text(paths("/home/nobody-at-all"))
    said: list[str] = []
    reading = configuration_file.read(found.path, {})
    config_commands.check(*reading, said.append, root=here)
    assert said == [f"{found.path}: ok"]
