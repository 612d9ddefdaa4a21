import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from waguard.config.addresses import is_loopback
from waguard.config.checks import require_sandbox
from waguard.config.key_file import GENERATED_KEY_MARK, KEY_LENGTH
from waguard.config.passwords import without_passwords
from waguard.config.reading import load
from waguard.config.sections import SECTIONS, Config, version_rules
from waguard.core.versions.rules import VersionRules
from waguard.core.webhooks.delivery import OLD_SERVICE
from waguard.errors import ConfigError

EXAMPLE: Final = Path(__file__).parents[1] / "etc/waguard.toml"
LONG_KEY: Final = "k" * KEY_LENGTH


@pytest.fixture(autouse=True)
def folder(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, which relative paths start from."""
    monkeypatch.chdir(short_path)
    return short_path


def loaded(text: str | bytes = "", environ: Mapping[str, str] | None = None) -> Config:
    path = Path("given.toml")
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(path, environ or {})


def refusal(text: str | bytes = "", environ: Mapping[str, str] | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as refused:
        loaded(text, environ)
    return refused.value


# ---- what is taken ----


def test_nothing_given_is_the_contract(folder: Path) -> None:
    config = load(None, {})
    reported = {
        f"{section}.{key}": value
        for section, keys in msgspec.structs.asdict(config).items()
        for key, value in msgspec.structs.asdict(keys).items()
    }
    assert reported == {
        "api.host": "127.0.0.1",
        "api.port": 3001,
        "api.key_file": folder / "state/api-key",
        "api.public_url": None,
        "api.keyless_loopback": False,
        "paths.sessions": folder / "sessions",
        "paths.runtime": folder / "run",
        "paths.state": folder / "state",
        "database.url": f"sqlite+aiosqlite:///{folder}/state/waguard.db",
        "lease.margin": 15.0,
        "browser.executable": None,
        "browser.flavour": "chromium",
        "browser.extra_args": (),
        "browser.launch_timeout": 30.0,
        "browser.sandbox": True,
        "whatsapp.url": "https://web.whatsapp.com/",
        "whatsapp.wajs": None,
        "whatsapp.on_conflict": "park",
        "versions.mode": "react",
        "versions.keep": 8,
        "versions.good_after": 1800.0,
        "versions.good_sessions": 2,
        "versions.well_for": 60.0,
        "versions.trial_limit": 600.0,
        "versions.confirmations": 2,
        "versions.remember": 86_400.0,
        "versions.pause": 900.0,
        "versions.pause_limit": 14_400.0,
        "versions.canary_after": 3600.0,
        "versions.canary_limit": 43_200.0,
        "versions.canary_for": 1800.0,
        "versions.canaries": 2,
        "versions.report_held_after": 1_209_600.0,
        "restore.timeout": 25.0,
        "restore.concurrency": 2,
        "admission.session_memory": 200,
        "admission.memory_reserve": 300,
        "admission.memory_pressure": 20.0,
        "fleet.threshold": 0.5,
        "fleet.minimum": 3,
        "fleet.period": 120.0,
        "fleet.network": "auto",
        "fleet.canary_interval": 60.0,
        "worker.orphan_grace": 60.0,
        "worker.heartbeat": 1.0,
        "worker.measure_interval": 15.0,
        "worker.memory_limit": 0,
        "profiles.snapshot_interval": 3600.0,
        "profiles.cache_limit": 300,
        "profiles.quarantine_days": 30,
        "profiles.quarantine_limit": 2000,
        "reconcile.interval": 30.0,
        "restart.intensity": 5,
        "restart.period": 300.0,
        "restart.base_delay": 1.0,
        "restart.max_delay": 60.0,
        "restart.stable_after": 300.0,
        "restart.retry_parked": 300.0,
        "send.wait": 20.0,
        "send.timeout": 30.0,
        "send.idempotency_hours": 24,
        "send.ack_limit": 60.0,
        "send.reply_grace": 120.0,
        "send.check_first_contact": True,
        "send.fetch_timeout": 15.0,
        "send.allow_private": False,
        "send.rate": 0.0,
        "send.burst": 5,
        "send.gap": (0.0, 0.0),
        "send.bulk_gap": 1.0,
        "limits.disk_reserve": 200,
        "limits.sends_in_flight": 50,
        "limits.requests": 200,
        "webhook.url": None,
        "webhook.secret_file": None,
        "webhook.give_up_after": 86_400.0,
        "webhook.allow_private": False,
        "webhook.hold": True,
        "webhook.hold_limit": 900.0,
        "webhook.events": OLD_SERVICE,
        "inbox.broadcasts": False,
        "inbox.channels": False,
        "inbox.groups": True,
        "inbox.backfill_after_pairing": 600.0,
        "inbox.undecryptable_interval": 3600.0,
        "media.keep_days": 30,
        "media.limit": 1024,
        "retention.inbox_days": 30,
        "retention.outbox_days": 30,
        "retention.dead_days": 30,
        "retention.audit_days": 90,
        "log.level": "INFO",
        "log.format": "auto",
    }


def test_the_example_changes_nothing_but_the_paths_and_names_every_key() -> None:
    text = EXAMPLE.read_text()
    the_services = {
        "WAGUARD_PATHS__SESSIONS": "/var/lib/waguard/sessions",
        "WAGUARD_PATHS__RUNTIME": "/run/waguard",
        "WAGUARD_PATHS__STATE": "/var/lib/waguard/state",
    }
    assert load(EXAMPLE, {}) == load(None, the_services)
    # with the leading # of `# key = …` taken away, every key is there, in its section
    whole = tomllib.loads(re.sub(r"(?m)^# (\w+ = )", r"\1", text))
    assert {name: set(keys) for name, keys in whole.items()} == {
        name: {field.name for field in msgspec.structs.fields(section)}
        for name, section in SECTIONS.items()
    }


def test_what_the_example_shows_commented_out_is_allowed() -> None:
    assert loaded(re.sub(r"(?m)^# (\w+ = )", r"\1", EXAMPLE.read_text())).webhook.secret_file


def test_the_environment_beats_the_file() -> None:
    config = loaded(
        "[api]\nport = 4000\nhost = '::1'\n[log]\nlevel = 'ERROR'",
        {"WAGUARD_API__PORT": "5000", "WAGUARD_LOG__LEVEL": "DEBUG"},
    )
    assert (config.api.port, config.api.host, config.log.level) == (5000, "::1", "DEBUG")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("API__PORT", "0", 0),
        ("API__KEYLESS_LOOPBACK", "true", True),
        ("API__KEYLESS_LOOPBACK", "false", False),
        ("SEND__WAIT", "0", 0.0),
        ("SEND__WAIT", "2.5", 2.5),
        ("RESTORE__CONCURRENCY", "3", 3),
        ("BROWSER__EXTRA_ARGS", "[]", ()),
        ("BROWSER__EXTRA_ARGS", '["--a=b c", "--d=[]"]', ("--a=b c", "--d=[]")),
        ("SEND__GAP", "[2, 6.5]", (2.0, 6.5)),
        ("BROWSER__EXECUTABLE", "/usr/bin/chromium", "/usr/bin/chromium"),
        ("BROWSER__EXECUTABLE", "", None),
        ("WEBHOOK__URL", "", None),
        ("WHATSAPP__WAJS", "", None),
        ("API__PUBLIC_URL", "", None),
        ("API__PUBLIC_URL", "https://wa.example/waguard/", "https://wa.example/waguard"),
        ("API__PUBLIC_URL", "http://10.0.0.7:3001", "http://10.0.0.7:3001"),
        ("WHATSAPP__ON_CONFLICT", "takeover", "takeover"),
        ("WEBHOOK__URL", "http://127.0.0.1:8000/hook", "http://127.0.0.1:8000/hook"),
    ],
)
def test_the_environment_is_text_and_lists_are_json(name: str, text: str, value: object) -> None:
    section, _, key = name.lower().partition("__")
    config = load(None, {f"WAGUARD_{name}": text})
    assert getattr(getattr(config, section), key) == value


def test_the_environment_holds_other_things_too() -> None:
    marks = {
        "WAGUARD_SESSION": "a",
        "WAGUARD_INSTANCE": "b",
        "PATH": "/bin",
        "XWAGUARD_API__X": "1",
    }
    assert load(None, marks) == load(None, {})


def test_relative_paths_start_from_the_files_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "etc").mkdir()
    path = folder / "etc/w.toml"
    path.write_text(
        "[paths]\nstate = 's'\n[webhook]\nsecret_file = '../secret'\n"
        "[database]\nurl = 'sqlite+aiosqlite:///s/w.db?timeout=3'"
    )
    beside = {"WAGUARD_WHATSAPP__WAJS": "wa.js"}
    for working in (folder, folder / "etc", Path("/")):
        monkeypatch.chdir(working)
        config = load(Path(os.path.relpath(path)), beside)
        assert config.paths.state == folder / "etc/s"
        assert config.paths.runtime == folder / "etc/run"
        assert config.webhook.secret_file == folder / "etc/../secret"
        assert config.whatsapp.wajs == folder / "etc/wa.js"
        assert config.database.url == f"sqlite+aiosqlite:///{folder}/etc/s/w.db?timeout=3"


def test_a_pipe_lies_in_no_folder(folder: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"[paths]\nstate = 's'")
    os.close(writing)
    try:
        assert load(Path(f"/dev/fd/{reading}"), {}).paths.state == folder / "s"
    finally:
        os.close(reading)


def test_without_a_file_relative_paths_start_from_the_working_folder(folder: Path) -> None:
    config = load(None, {"WAGUARD_PATHS__STATE": "s"})
    assert config.paths.state == folder / "s"


def test_a_database_in_memory_has_no_folder() -> None:
    for url in ("sqlite+aiosqlite:///", "sqlite+aiosqlite:///:memory:"):
        assert loaded(f"[database]\nurl = '{url}'").database.url == url  # the store refuses it


def test_what_the_file_names_is_placed(folder: Path) -> None:
    config = loaded(
        """
        paths = {state = "s", runtime = "/run/waguard"}
        whatsapp = {wajs = "wa.js"}
        webhook = {url = "http://localhost/", secret_file = "secret"}
        """
    )
    assert config.paths.state == folder / "s"
    assert config.paths.runtime == Path("/run/waguard")
    assert config.whatsapp.wajs == folder / "wa.js"
    assert config.webhook.secret_file == folder / "secret"


def test_what_lies_in_the_state_folder_follows_it() -> None:
    config = loaded("[paths]\nstate = '/var/lib/w'")
    assert config.api.key_file == Path("/var/lib/w/api-key")
    assert config.database.url == "sqlite+aiosqlite:////var/lib/w/waguard.db"


def test_what_was_named_stays_where_it_is(folder: Path) -> None:
    config = loaded(
        "api = {key_file = 'state/api-key'}\npaths = {state = '/s'}\n"
        "database = {url = 'mysql+asyncmy://me:sesame@db/wa'}"
    )
    assert config.api.key_file == folder / "state/api-key"
    assert config.database.url == "mysql+asyncmy://me:sesame@db/wa"


def test_a_path_need_not_be_utf_8() -> None:
    odd = os.fsdecode(b"/srv/stra\xdfe")
    assert load(None, {"WAGUARD_PATHS__STATE": odd}).paths.state == Path(odd)


def test_the_file_is_utf_8_whatever_the_locale() -> None:
    code = "from waguard.config.reading import load; from pathlib import Path\n"
    code += "print(ascii(str(load(Path('given.toml'), {}).paths.state)))"
    Path("given.toml").write_text("[paths]\nstate = '/srv/café'", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", code],
        env={**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ascii("/srv/café")


@pytest.mark.parametrize("length", [80, 81])
def test_a_runtime_path_that_just_fits(length: int) -> None:
    folder = "/" + "r" * (length - 1)
    config = loaded(f"[paths]\nruntime = '{folder}'")
    socket = config.paths.runtime / "workers" / "0123456789ab.sock"
    assert len(os.fsencode(socket)) <= 107


# ---- a host that others can reach ----


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_needs_no_key_of_ones_own(host: str) -> None:
    assert is_loopback(host)
    assert loaded(f"[api]\nhost = '{host}'").api.host == host


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "127.1", "localhost."]
)
def test_anything_else_does(host: str, folder: Path) -> None:
    assert not is_loopback(host)
    error = refusal(f"[api]\nhost = '{host}'")
    assert error.field == "api.host"
    assert str(folder / "state/api-key") in error.line()
    assert str(KEY_LENGTH) in error.line()


@pytest.mark.parametrize(
    ("keys", "enough"),
    [
        (f"{LONG_KEY}\n", True),
        (f"# ours\n\n  {LONG_KEY}  \n{LONG_KEY}2\n", True),
        (f"{LONG_KEY}\r\n", True),
        (f"{GENERATED_KEY_MARK}\n{LONG_KEY}\n", False),
        (f"{GENERATED_KEY_MARK}\r\n{LONG_KEY}\r\n", False),
        (LONG_KEY[1:], False),
        (f"{LONG_KEY}\nsecret\n", False),
        ("  # a comment that is long enough to be a key\n", False),
        ("", False),
        (b"\xff" * 40, False),
    ],
)
def test_every_key_of_ones_own_must_be_safe(keys: str | bytes, enough: bool) -> None:  # noqa: FBT001  # a column of the table
    Path("state").mkdir()
    Path("state/api-key").write_bytes(keys if isinstance(keys, bytes) else keys.encode())
    open_to_all = "[api]\nhost = '0.0.0.0'"
    if enough:
        assert loaded(open_to_all).api.host == "0.0.0.0"
    else:
        assert refusal(open_to_all).field == "api.host"


# ---- what is refused ----


@dataclass(frozen=True)
class Bad:
    """``shown`` is the value as the line shows it, ``allowed`` what it says is right."""

    field: str
    shown: str
    allowed: str
    text: str | bytes = ""
    environ: Mapping[str, str] | None = None


SEES_EXAMPLE: Final = "etc/waguard.toml"
BAD: Final = {
    "unknown section": Bad("apl", "3", "api, browser", "apl = 3"),
    "unknown key": Bad("api.prot", "3001", "api.port", "[api]\nprot = 3001"),
    "a section that is none": Bad("api", "3", "[api]", "api = 3"),
    "a list of sections": Bad("api", "[{'port': 1}]", "[api]", "[[api]]\nport = 1"),
    "a section in a section": Bad("api.tls", "not shown", "api.port", "[api.tls]\non = true"),
    "text for a number": Bad("api.port", "'3001'", "int", "[api]\nport = '3001'"),
    "a fraction for a count": Bad(
        "restore.concurrency", "1.5", "int", "[restore]\nconcurrency = 1.5"
    ),
    "a port above the last": Bad("api.port", "65536", "65535", "[api]\nport = 65536"),
    "a negative port": Bad("api.port", "-1", ">= 0", "[api]\nport = -1"),
    "a number without end": Bad("api.port", "…", "65535", f"[api]\nport = {'9' * 300}"),
    "a public address no address": Bad(
        "api.public_url", "wa.example", "http://host/", '[api]\npublic_url = "wa.example"'
    ),
    "a public address of another kind": Bad(
        "api.public_url",
        "ftp://wa.example",
        "http://host/",
        '[api]\npublic_url = "ftp://wa.example"',
    ),
    "a public address with a space": Bad(
        "api.public_url",
        "http://wa example",
        "http://host/",
        '[api]\npublic_url = "http://wa example"',
    ),
    "a public address of no host": Bad(
        "api.public_url",
        "http://0.0.0.0:3001",
        "unspecified",
        '[api]\npublic_url = "http://0.0.0.0:3001"',
    ),
    "a public address of no IPv6 host": Bad(
        "api.public_url",
        "http://[::]:3001",
        "unspecified",
        '[api]\npublic_url = "http://[::]:3001"',
    ),
    "a public address with a query": Bad(
        "api.public_url",
        "https://wa.example/?a=1",
        "no ?",
        '[api]\npublic_url = "https://wa.example/?a=1"',
    ),
    "a public address with a fragment": Bad(
        "api.public_url",
        "https://wa.example/#",
        "no ?",
        '[api]\npublic_url = "https://wa.example/#"',
    ),
    "a public address with a user": Bad(
        "api.public_url", "not shown", "user", '[api]\npublic_url = "https://me@wa.example/"'
    ),
    "a public address too long": Bad(
        "api.public_url", "…", "255", f'[api]\npublic_url = "https://wa.example/{"x" * 250}"'
    ),
    "a switch as a number": Bad("api.keyless_loopback", "1", "bool", "[api]\nkeyless_loopback = 1"),
    "a number as a switch": Bad("api.port", "True", "int", "[api]\nport = true"),
    "seconds as a switch": Bad("send.wait", "True", "float", "[send]\nwait = true"),
    "not a number": Bad("send.timeout", "nan", "float", "[send]\ntimeout = nan"),
    "for ever": Bad("send.wait", "inf", "86400", "[send]\nwait = inf"),
    "before the beginning": Bad("send.wait", "-inf", ">= 0", "[send]\nwait = -inf"),
    "a negative duration": Bad(
        "worker.orphan_grace", "-0.5", ">= 0", "[worker]\norphan_grace = -0.5"
    ),
    "a duration that must not be zero": Bad(
        "reconcile.interval", "0", "> 0", "[reconcile]\ninterval = 0"
    ),
    "more than a day": Bad("restart.period", "86401", "86400", "[restart]\nperiod = 86401"),
    "a share that is never reached": Bad(
        "fleet.threshold", "1.0", "< 1", "[fleet]\nthreshold = 1.0"
    ),
    "more than all": Bad(
        "admission.memory_pressure", "101", "100", "[admission]\nmemory_pressure = 101"
    ),
    "no restart at all": Bad("restart.intensity", "0", ">= 1", "[restart]\nintensity = 0"),
    "longest below shortest": Bad(
        "restart.max_delay", "60.0", "restart.base_delay", "[restart]\nbase_delay = 61.0"
    ),
    "a pause above its limit": Bad(
        "versions.pause_limit", "60.0", "versions.pause", "[versions]\npause_limit = 60"
    ),
    "a canary later than ever": Bad(
        "versions.canary_limit", "60.0", "versions.canary_after", "[versions]\ncanary_limit = 60"
    ),
    "a trial shorter than its proof": Bad(
        "versions.trial_limit", "30.0", "versions.well_for", "[versions]\ntrial_limit = 30"
    ),
    "a mode that is none": Bad("versions.mode", "'on'", SEES_EXAMPLE, "[versions]\nmode = 'on'"),
    "one confirmation": Bad("versions.confirmations", "1", ">= 2", "[versions]\nconfirmations = 1"),
    "a gap from more to less": Bad("send.gap", "[3.0, 2.0]", "[2, 6]", "[send]\ngap = [3, 2]"),
    "a gap of one number": Bad("send.gap", "[3]", "length", "[send]\ngap = [3]"),
    "a date": Bad("api.port", "1979", "int", "[api]\nport = 1979-05-27"),
    "a word that is none of them": Bad(
        "browser.flavour", "'firefox'", SEES_EXAMPLE, "[browser]\nflavour = 'firefox'"
    ),
    "a level in small letters": Bad("log.level", "'info'", SEES_EXAMPLE, "[log]\nlevel = 'info'"),
    "one argument for a list": Bad(
        "browser.extra_args", "'--x'", "array", "[browser]\nextra_args = '--x'"
    ),
    "a number among arguments": Bad(
        "browser.extra_args", "['--x', 1]", "str", "[browser]\nextra_args = ['--x', 1]"
    ),
    "an empty path": Bad("paths.state", "''", "path", "[paths]\nstate = ''"),
    "a number for a path": Bad("paths.state", "1", "path", "[paths]\nstate = 1"),
    "NUL in a path": Bad("paths.state", r"'a\x00'", "NUL", '[paths]\nstate = "a\\u0000"'),
    "NUL in an optional path": Bad(
        "whatsapp.wajs", r"'a\x00'", "NUL", '[whatsapp]\nwajs = "a\\u0000"'
    ),
    "NUL in a program": Bad(
        "browser.executable", r"'a\x00'", "NUL", '[browser]\nexecutable = "a\\u0000"'
    ),
    "NUL in an argument": Bad(
        "browser.extra_args", r"['a\x00']", "NUL", '[browser]\nextra_args = ["a\\u0000"]'
    ),
    "NUL in a host": Bad("api.host", r"'a\x00'", "NUL", '[api]\nhost = "a\\u0000"'),
    "an empty host": Bad("api.host", "''", "127.0.0.1", "[api]\nhost = ''"),
    "a blank host": Bad("api.host", "' '", "127.0.0.1", "[api]\nhost = ' '"),
    "a URL without a scheme": Bad(
        "whatsapp.url", "'web.whatsapp.com'", "https://", "[whatsapp]\nurl = 'web.whatsapp.com'"
    ),
    "a URL of another scheme": Bad(
        "webhook.url", "'ftp://h/'", "http://", "[webhook]\nurl = 'ftp://h/'"
    ),
    "a URL without a host": Bad(
        "webhook.url", "'http:///hook'", "http://host", "[webhook]\nurl = 'http:///hook'"
    ),
    "a URL with a space": Bad(
        "webhook.url", "'http://a b/'", "http://host", "[webhook]\nurl = 'http://a b/'"
    ),
    "a URL with a port too high": Bad(
        "webhook.url", "'http://h:99999'", "http://host", "[webhook]\nurl = 'http://h:99999'"
    ),
    "a URL with a broken address": Bad(
        "webhook.url", "'http://[::1'", "http://host", "[webhook]\nurl = 'http://[::1'"
    ),
    "an empty URL in the file": Bad("webhook.url", "''", "http://", "[webhook]\nurl = ''"),
    "a runtime folder too deep": Bad(
        "paths.runtime", "r" * 81, "81 bytes", f"[paths]\nruntime = '/{'r' * 81}'"
    ),
    "a runtime folder of too many bytes": Bad(
        "paths.runtime", "é" * 41, "81 bytes", f"[paths]\nruntime = '/{'é' * 41}'"
    ),
    "no TOML": Bad("--config", "given.toml", "line 1", "port 3001"),
    "a key twice": Bad("--config", "given.toml", "overwrite", "[api]\nport = 1\nport = 2"),
    "not UTF-8": Bad("--config", "given.toml", "0xff", b"[log]\nlevel = '\xff'"),
    "UTF-16": Bad("--config", "given.toml", "utf-8", "[log]".encode("utf-16")),
    "more digits than Python reads": Bad(
        "--config", "given.toml", "4300", f"[api]\nport = {'9' * 5000}"
    ),
    "a list without a bottom": Bad("--config", "given.toml", "recursion", f"a = {'[' * 100_000}"),
    "an unknown section in the environment": Bad(
        "WAGUARD_APL__PORT", "'1'", "WAGUARD_API__", environ={"WAGUARD_APL__PORT": "1"}
    ),
    "an unknown key in the environment": Bad(
        "api.prot", "'1'", "api.port", environ={"WAGUARD_API__PROT": "1"}
    ),
    "an empty number in the environment": Bad(
        "api.port", "''", "int", environ={"WAGUARD_API__PORT": ""}
    ),
    "a hexadecimal port": Bad("api.port", "'0xbb9'", "int", environ={"WAGUARD_API__PORT": "0xbb9"}),
    "a list that is no JSON": Bad(
        "browser.extra_args", "'--x'", "JSON", environ={"WAGUARD_BROWSER__EXTRA_ARGS": "--x"}
    ),
    "JSON that is no list": Bad(
        "browser.extra_args", "'--x'", "array", environ={"WAGUARD_BROWSER__EXTRA_ARGS": '"--x"'}
    ),
    "a switch that opens the browser to others": Bad(
        "browser.extra_args",
        "'--remote-debugging-port=9222'",
        "remove --remote-debugging-port",
        'browser.extra_args = ["--lang=de", "--remote-debugging-port=9222"]',
    ),
    "a switch that opens WhatsApp's page to others": Bad(
        "browser.extra_args",
        "'-disable-web-security'",
        "remove --disable-web-security",
        'browser.extra_args = ["-disable-web-security"]',
    ),
    "a switch against the sandbox": Bad(
        "browser.extra_args",
        "'--no-sandbox'",
        "browser.sandbox = false",
        'browser.extra_args = ["--no-sandbox"]',
    ),
    "an argument that is no switch": Bad(
        "browser.extra_args", "'x'", "--name=value", 'browser.extra_args = ["x"]'
    ),
    "a yes": Bad(
        "api.keyless_loopback", "'yes'", "bool", environ={"WAGUARD_API__KEYLESS_LOOPBACK": "yes"}
    ),
    "not a number in the environment": Bad(
        "send.wait", "'nan'", "float", environ={"WAGUARD_SEND__WAIT": "nan"}
    ),
    "an empty path in the environment": Bad(
        "paths.runtime", "''", "path", environ={"WAGUARD_PATHS__RUNTIME": ""}
    ),
    "an empty host in the environment": Bad(
        "api.host", "''", "127.0.0.1", environ={"WAGUARD_API__HOST": ""}
    ),
    "a byte that is no UTF-8": Bad(
        "api.host", r"'\udcff'", "utf-8", environ={"WAGUARD_API__HOST": "\udcff"}
    ),
    "a byte that is no UTF-8 in a list": Bad(
        "browser.extra_args",
        r"\udcff",
        "utf-8",
        environ={"WAGUARD_BROWSER__EXTRA_ARGS": '["\udcff"]'},
    ),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_refusal_names_key_value_and_what_is_allowed(bad: Bad) -> None:
    error = refusal(bad.text, bad.environ)
    line = error.line()
    assert error.code == 2
    assert error.field == bad.field
    assert line.startswith(f"{bad.field}: ")
    assert bad.shown in line
    assert bad.allowed in line
    assert error.remedy
    assert line.isprintable()
    assert len(line) < 700


@pytest.mark.parametrize(
    ("text", "environ", "field"),
    [
        ("[database]\nurl = ['mysql://me:sesame@db/wa']", {}, "database.url"),
        ('[database]\nurl = "mysql://me:sesame@db/wa\\u0000"', {}, "database.url"),
        ("[database]\nulr = 'mysql://me:sesame@db/wa'", {}, "database.ulr"),
        ("[database]\npassword = 'sesame'", {}, "database.password"),
        ("[data_base]\nurl = 'mysql://me:sesame@db/wa'", {}, "data_base"),
        ("database = 'mysql://me:sesame@db/wa'", {}, "database"),
        ("[webhook]\nurl = 'htp://me:sesame@host/'", {}, "webhook.url"),
        ("", {"WAGUARD_DATABASE__ULR": "mysql://me:sesame@db/wa"}, "database.ulr"),
        ("", {"WAGUARD_DATA_BASE__URL": "mysql://me:sesame@db/wa"}, "WAGUARD_DATA_BASE__URL"),
    ],
)
def test_a_secret_is_never_echoed(text: str, environ: Mapping[str, str], field: str) -> None:
    error = refusal(text, environ)
    assert error.field == field
    assert "sesame" not in error.line()
    assert "sesame" not in repr(vars(error))
    assert "(not shown)" in error.line()


@pytest.mark.parametrize("text", ['["a\\nb"]\nx = 1', '[api]\n"a\\nb\\u001b[31m" = 1'])
def test_a_name_with_a_line_end_still_makes_one_line(text: str) -> None:
    line = refusal(text).line()
    assert line.isprintable()
    assert r"a\nb" in line


@pytest.mark.parametrize("path", ["missing.toml", ".", "missing/waguard.toml"])
def test_a_file_that_cannot_be_read(path: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(Path(path), {})
    assert refused.value.code == 2
    assert refused.value.field == "--config"
    assert path in refused.value.line()


def test_a_working_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match="working folder"):
        load(None, {})
    assert load(EXAMPLE, {}).paths.runtime == Path("/run/waguard")  # it needs none


def test_a_configuration_cannot_be_changed() -> None:
    config: Any = load(None, {})
    with pytest.raises(AttributeError):
        config.api.port = 1


def test_one_underscore_is_not_a_setting_that_does_nothing() -> None:
    with pytest.raises(ConfigError, match="unknown variable") as caught:
        load(None, {"WAGUARD_API_PORT": "3002"})
    assert caught.value.field == "WAGUARD_API_PORT"
    assert "WAGUARD_API__PORT" in (caught.value.remedy or "")


def test_a_database_of_another_kind_is_refused_without_its_password() -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {"WAGUARD_DATABASE__URL": "oracle://user:hunter2@host/db"})
    assert "hunter2" not in caught.value.line()
    assert caught.value.field == "database.url"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mysql+asyncmy://me:sesame@db/wa", "mysql+asyncmy://me:***@db/wa"),
        ("mysql+asyncmy://me:se/sa@me@db/wa", "mysql+asyncmy://me:***@db/wa"),
        ("http://db/wa?a=1&sslpassword=sesame&b=2", "http://db/wa?a=1&sslpassword=***&b=2"),
        ("postgresql+asyncpg://me@[::1]:5432/wa", "postgresql+asyncpg://me@[::1]:5432/wa"),
        ("http://host:80/hook?TOKEN=sesame", "http://host:80/hook?TOKEN=***"),
        ("--password-store=basic", "--password-store=basic"),
    ],
)
def test_addresses_are_shown_without_their_passwords(text: str, shown: str) -> None:
    assert without_passwords(text) == shown


def test_root_needs_to_give_up_the_sandbox_on_purpose() -> None:
    config = load(None, {})  # clients of a daemon read it as root, too
    with pytest.raises(ConfigError) as refused:
        require_sandbox(config.browser, root=True)
    assert refused.value.field == "browser.sandbox"
    assert "WAGUARD_BROWSER__SANDBOX=false" in refused.value.line()
    require_sandbox(config.browser, root=False)
    given_up = loaded("browser.sandbox = false\nbrowser.extra_args = ['--no-sandbox']")
    require_sandbox(given_up.browser, root=True)


def test_the_core_gets_the_rules_of_versions_as_configured() -> None:
    rules = version_rules(
        loaded("[versions]\nmode = 'guard'\npause = 60\n[restore]\nconcurrency = 3")
    )
    assert rules == VersionRules(mode="guard", pause=60.0, places=3)
