"""File and environment: what is read of them, and which one holds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.config.configured import loaded
from waguard.config.reading import load
from waguard.errors import ConfigError


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


@pytest.mark.parametrize("path", ["missing.toml", ".", "missing/waguard.toml"])
def test_a_file_that_cannot_be_read(path: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(Path(path), {})
    assert refused.value.code == 2
    assert refused.value.field == "--config"
    assert path in refused.value.line()


def test_one_underscore_is_not_a_setting_that_does_nothing() -> None:
    with pytest.raises(ConfigError, match="unknown variable") as caught:
        load(None, {"WAGUARD_API_PORT": "3002"})
    assert caught.value.field == "WAGUARD_API_PORT"
    assert "WAGUARD_API__PORT" in (caught.value.remedy or "")
