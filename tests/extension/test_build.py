"""`make extension ORIGINS=…`: which origins are listed, and what is refused."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from extension.build import HERE, build, extension_id, manifest, pattern

PAGE = Path(__file__).parents[2] / "waguard/api/static/page/passkey.js"


@pytest.mark.parametrize(
    ("origin", "listed"),
    [
        ("https://waguard.example.org", "https://waguard.example.org:443/*"),
        ("https://waguard.example.org/", "https://waguard.example.org:443/*"),
        ("https://WAGUARD.example.org:8443", "https://waguard.example.org:8443/*"),
        ("http://127.0.0.1:3001", "http://127.0.0.1:3001/*"),
        ("http://localhost:3001", "http://localhost:3001/*"),
        ("http://localhost", "http://localhost:80/*"),
        ("http://[::1]:3001", "http://[::1]:3001/*"),
    ],
)
def test_one_origin_is_one_pattern(origin: str, listed: str) -> None:
    assert pattern(origin) == listed


@pytest.mark.parametrize(
    ("origin", "why"),
    [
        ("https://*.example.org", "wildcard"),
        ("https://*", "wildcard"),
        ("https://host:*", "host:"),
        ("*://host", "write it as"),
        ("<all_urls>", "write it as"),
        ("http://waguard.example.org", "use https"),
        ("http://10.0.0.7:3001", "use https"),
        ("http://127.0.0.1.example.org", "use https"),
        ("https://host/path", "no path"),
        ("https://host?a", "no path"),
        ("https://host#a", "no path"),
        ("https://user@host", "no path"),
        ("https://host:99999", "host:99999"),
        ("https://ho st", "not the name"),
        ("file:///etc", "write it as"),
        ("waguard.example.org", "write it as"),
        ("", "write it as"),
    ],
)
def test_what_would_let_others_ask_is_refused(origin: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        pattern(origin)


def test_nothing_is_made_without_an_origin(tmp_path: Path) -> None:
    for origins in ([], ["https://host", "https://*"]):
        with pytest.raises(ValueError, match="origin"):
            build(origins, tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_the_extension_is_made_for_these_origins_alone(tmp_path: Path) -> None:
    build(["https://older"], tmp_path / "made")
    made = build(["https://host", "http://127.0.0.1:3001", "https://host"], tmp_path / "made")
    files = {path.name for path in (tmp_path / "made").iterdir()}
    assert files == {"manifest.json", "worker.js", "card.js"}
    written = json.loads((tmp_path / "made/manifest.json").read_text())
    matches = ["https://host:443/*", "http://127.0.0.1:3001/*"]
    assert written["externally_connectable"] == {"matches": matches}
    assert written["host_permissions"] == ["https://web.whatsapp.com/*"]
    assert written["permissions"] == ["scripting"]
    assert made == extension_id(written)


def test_the_pages_id_is_the_keys() -> None:
    assert f"'{extension_id(manifest(['https://host']))}'" in PAGE.read_text()


def test_what_is_in_the_tree_lists_nobody() -> None:
    tree = json.loads((HERE / "manifest.json").read_text())
    assert tree["externally_connectable"] == {"matches": []}


def test_the_command_says_what_to_do_or_why_not(tmp_path: Path) -> None:
    def run(*origins: str) -> subprocess.CompletedProcess[str]:
        build_py, made = str(HERE / "build.py"), str(tmp_path / "made")
        command = [sys.executable, build_py, "--target", made, *origins]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = run("https://host")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Load unpacked" in done.stdout
    refused = run("http://host")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("http://host: anybody on the way")
