"""``waguard wajs``: a bundle is kept only where its digest is the one that was named."""

import errno
import hashlib
import io
import json
import stat
import tarfile
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cli.fake_api import Answer, Api, said
from tests.cli.program import main
from tests.host.odd_files import refuse
from waguard.host.memory.wajs_store import LARGEST, MOST, WajsStore, digest

BUNDLE: Final = b"/*! wppconnect-team/wa-js v4.7.0 */(()=>{window.WPP={}})()"
SHA256: Final = digest(BUNDLE)
OTHER: Final = "ab" * 32


@pytest.fixture
def folder(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where waguard keeps bundles."""
    monkeypatch.chdir(short_path)
    return short_path / "state" / "wajs"


def bundle(folder: Path, content: bytes = BUNDLE) -> str:
    path = folder.parents[1] / "wppconnect-wa.js"
    path.write_bytes(content)
    return str(path)


def test_a_file_is_kept_for_the_daemon_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = bundle(folder)
    assert main(["wajs", "add", given, "--sha256", SHA256.upper(), "--json"]) == 0
    kept = folder / f"{SHA256}.js"
    assert json.loads(capsys.readouterr().out) == {
        "sha256": SHA256,
        "version": "4.7.0",
        "size": len(BUNDLE),
        "file": str(kept),
    }
    assert kept.read_bytes() == BUNDLE
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert main(["wajs", "add", given, "--sha256", SHA256]) == 0, "once more is the same"
    [line] = said(capsys)[0]
    assert f"waguard wajs try {SHA256[:12]}" in line
    assert [it.name for it in folder.iterdir()] == [kept.name]


@pytest.mark.parametrize(
    ("content", "named", "expected"),
    [
        (BUNDLE, OTHER, f"its SHA-256 is {SHA256}, and {OTHER} was named"),
        (BUNDLE, "abc", "it is not a SHA-256 digest"),
        (b"alert(1)", digest(b"alert(1)"), "it does not look like wa-js"),
        (b"x" * (LARGEST + 1), OTHER, f"it has {LARGEST + 1} bytes, {LARGEST} at most"),
    ],
)
def test_anything_else_is_not_kept(
    folder: Path, capsys: pytest.CaptureFixture[str], content: bytes, named: str, expected: str
) -> None:
    assert main(["wajs", "add", bundle(folder, content), "--sha256", named]) == 2
    [line] = said(capsys)[1]
    assert expected in line
    assert not folder.exists() or not list(folder.iterdir())


def test_no_more_than_a_few_are_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = WajsStore(folder.parent)
    for number in range(MOST):
        content = BUNDLE + b"//%d" % number
        store.add(content, digest(content))
    assert len(store.listing()) == MOST
    assert main(["wajs", "add", bundle(folder), "--sha256", SHA256]) == 2
    assert f"{MOST} at most" in said(capsys)[1][0]


def test_what_was_changed_on_the_disk_is_listed_no_more(folder: Path) -> None:
    store = WajsStore(folder.parent)
    store.add(BUNDLE, SHA256)
    assert [it.sha256 for it in store.listing()] == [SHA256]
    store.path(SHA256).write_bytes(BUNDLE + b" ")
    (folder / "README").write_text("nothing of ours")
    assert store.listing() == []


@pytest.mark.parametrize("what", ["the folder", "a bundle"])
def test_what_cannot_be_read_now_is_not_removed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    store = WajsStore(folder.parent)
    assert store.listing() == [], "there is no folder yet"
    store.add(BUNDLE, SHA256)
    with monkeypatch.context() as patch:
        if what == "a bundle":
            refuse(patch, store.path(SHA256), errno.EMFILE)
        else:
            patch.setattr(Path, "iterdir", too_many)
        with pytest.raises(OSError, match="Too many open files"):
            store.listing()
    assert [it.sha256 for it in store.listing()] == [SHA256]


def too_many(_: Path) -> None:
    raise OSError(errno.EMFILE, "Too many open files")


# ---- npm ----


def npm(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """One that is the only program on PATH but for the shell's."""
    there = folder.parents[1] / "bin"
    there.mkdir()
    (there / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (there / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{there}:/usr/bin:/bin")
    return there


def archive(path: Path, content: bytes | None) -> str:
    """What ``npm pack`` makes."""
    with tarfile.open(path, "w:gz") as file:
        for name, expected in (
            ("package/package.json", b"{}"),
            ("package/dist/wppconnect-wa.js", content),
        ):
            if expected is not None:
                member = tarfile.TarInfo(name)
                member.size = len(expected)
                file.addfile(member, io.BytesIO(expected))
    return str(path)


def test_npm_brings_exactly_this_version(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = archive(folder.parents[1] / "packed", BUNDLE)
    log = folder.parents[1] / "log"
    npm(folder, monkeypatch, f'echo "$@" > {log}; cp {packed} ./wppconnect-wa-js-4.7.0.tgz')
    assert main(["wajs", "add", "npm:4.7.0", "--sha256", SHA256]) == 0
    assert (folder / f"{SHA256}.js").read_bytes() == BUNDLE
    *options, package = log.read_text().split()
    assert package == "@wppconnect/wa-js@4.7.0"
    assert options[:3] == ["pack", "--silent", "--ignore-scripts"]
    left = Path(options[3].partition("=")[2])
    assert not left.exists(), "what was fetched is removed"
    assert main(["wajs", "add", "npm:4.7.0", "--sha256", OTHER]) == 2
    assert SHA256 in said(capsys)[1][0]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo no such version >&2; exit 1", "npm failed with exit code 1: no such version"),
        ("exit 0", "npm brought no archive"),
        ("echo x > a.tgz", "cannot be read from the archive"),
        ("cp {without} a.tgz", "cannot be read from the archive"),
    ],
)
def test_npm_that_fails_is_said_in_a_line(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: str,
    expected: str,
) -> None:
    without = archive(folder.parents[1] / "without", None)
    npm(folder, monkeypatch, script.format(without=without))
    assert main(["wajs", "add", "npm:4.7.0", "--sha256", SHA256]) == 1
    [line] = said(capsys)[1]
    assert expected in line


@pytest.mark.parametrize("version", ["latest", "^4.6.0", "4.6", "4.6.0 --registry=x", "../x"])
def test_only_an_exact_version_is_fetched(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    version: str,
) -> None:
    npm(folder, monkeypatch, f"touch {folder.parents[1]}/called")
    assert main(["wajs", "add", f"npm:{version}", "--sha256", SHA256]) == 2
    assert "not an exact version" in said(capsys)[1][0]
    assert not (folder.parents[1] / "called").exists()


# ---- the daemon's part ----

LISTED: Final[dict[str, Any]] = {
    "success": True,
    "configured": "/etc/waguard/wa.js",
    "bundles": [
        {
            "sha256": SHA256,
            "version": "4.7.0",
            "packed": False,
            "in_use": True,
            "candidate": False,
            "rolled_back_at": None,
            "sessions": ["a"],
        }
    ],
}


def test_the_list_says_who_has_what(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says("GET /api/wajs", Answer(200, LISTED))
    assert main(["wajs", "list"]) == 0
    first, _, row = said(capsys)[0]
    assert first == "whatsapp.wajs names /etc/waguard/wa.js, which all sessions get"
    assert row.split() == [SHA256, "4.7.0", "in", "use", "1"]
    assert main(["wajs", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == LISTED


@pytest.mark.parametrize(
    ("arguments", "path", "body"),
    [
        (["try", SHA256[:8]], "try", {"sha256": SHA256[:8], "session_id": None}),
        (["try", SHA256, "--session", "a"], "try", {"sha256": SHA256, "session_id": "a"}),
        (["use", SHA256], "use", {"sha256": SHA256}),
    ],
)
def test_a_change_needs_a_yes(
    api: Api, capsys: pytest.CaptureFixture[str], arguments: list[str], path: str, body: Any
) -> None:
    api.says(f"POST /api/wajs/{path}", Answer(200, LISTED))
    assert main(["wajs", *arguments]) == 2
    assert api.asked == []
    assert main(["wajs", *arguments, "--yes"]) == 0
    assert api.asked == [(f"POST /api/wajs/{path}", body)]
    assert "waguard wajs list" in said(capsys)[0][0]


def test_the_digest_is_of_the_content() -> None:
    assert digest(BUNDLE) == hashlib.sha256(BUNDLE).hexdigest()
