"""Which Chromium is installed and which one runs, as files; a copy of one that worked."""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from waguard.config.sections import Browser, Config, Limits, Paths
from waguard.core.host.browser_update import SCRIPT
from waguard.core.replace import replace
from waguard.host.process.executable import program, version_note
from waguard.host.system.browsers import Browsers

PROGRAM = Path("/bin/sleep")


class Versioned(Browsers):
    """Its executables say a version, which ``PROGRAM`` does not."""

    refused: str | None = None

    def ask(self, path: Path) -> tuple[str | None, str | None]:
        assert path.is_file()
        return (None, self.refused) if self.refused else ("1.2.3.4", None)


class Installation:
    """A Chromium's folder, with a file that it needs, and the configuration that names it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lib/chromium"
        self.path.parent.mkdir()
        shutil.copy(PROGRAM, self.path)
        sandbox = self.path.parent / "chrome-sandbox"
        sandbox.touch()
        sandbox.chmod(0o4755)  # Debian's
        (self.path.parent / "locales").mkdir()
        (self.path.parent / "locales/en.pak").write_text("words")
        self.notes = folder / "notes"
        self.notes.mkdir()
        self.config = Config(
            paths=Paths(
                sessions=folder / "sessions", state=folder / "state", runtime=folder / "run"
            ),
            browser=Browser(executable=str(self.path), keep_previous=True),
            limits=Limits(disk_reserve=0),
        )
        self.browsers = Versioned(lambda: self.config, self.notes)
        self.copies = folder / "state/chromium/chromium"

    def update(self) -> None:
        """As dpkg does it: another file takes the name."""
        draft = self.path.with_suffix(".dpkg-new")
        shutil.copy(PROGRAM, draft)
        with draft.open("ab") as file:
            file.write(b"fixed")
        draft.replace(self.path)


@pytest.fixture
def it(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


@pytest.fixture
def process(it: Installation) -> Iterator[int]:
    """One that runs the installed one."""
    with subprocess.Popen([it.path, "600"]) as child:
        yield child.pid
        child.kill()


def test_what_runs_is_known_when_its_file_is_replaced(it: Installation, process: int) -> None:
    before = it.browsers.installed()
    assert before
    seen = program(it.path)
    assert seen
    version_note(it.path, seen, it.notes).write_text("156.0.8078.108")
    assert it.browsers.running(process) == replace(before, version="156.0.8078.108")
    it.update()
    assert it.browsers.running(process) == replace(before, version="156.0.8078.108")
    after = it.browsers.installed()
    assert after
    assert (after.path, after.version) == (it.path, None)
    assert after.build != before.build
    it.path.unlink()
    assert it.browsers.installed() is None


def test_a_program_of_another_name_is_left_out(it: Installation, process: int) -> None:
    assert it.browsers.running(process, it.path.name) == it.browsers.installed()
    assert it.browsers.running(process, "python3") is None


def test_a_package_that_is_installed_again_is_no_update(it: Installation) -> None:
    before = it.browsers.installed()
    shutil.copy2(it.path, it.path.with_suffix(".dpkg-new"))
    it.path.with_suffix(".dpkg-new").replace(it.path)
    assert it.browsers.installed() == before


def test_what_cannot_be_known_is_none(it: Installation) -> None:
    with subprocess.Popen(["/bin/true"]) as gone:
        pass
    assert it.browsers.running(gone.pid) is None
    it.path.write_text("#!/bin/sh\nexec chromium")
    script = it.browsers.installed()
    assert script
    assert script.build == SCRIPT


@pytest.mark.parametrize(
    ("script", "version", "refused"),
    [
        ("echo Chromium 1.2.3.4 built on Debian", "1.2.3.4", None),
        ("echo Chromium 1.2.3.4; exit 1", None, "exit code 1"),
        ("echo 'no libffmpeg.so' >&2; exit 127", None, "exit code 127"),
        ("kill -SEGV $$", None, "exit code -11"),
        ("sleep 600", None, "did not answer within 0.2 s"),
    ],
)
def test_a_version_is_asked_for(
    it: Installation, script: str, version: str | None, refused: str | None
) -> None:
    it.path.write_text(f"#!/bin/sh\n{script}\n")
    answers = 0.2 if "sleep" in script else 60.0
    said, why = Browsers(lambda: it.config, it.notes, answers=answers).ask(it.path)
    assert said == version
    assert (refused or "") in (why or "")
    assert (why is None) == (refused is None)


def test_what_cannot_be_executed_says_so(it: Installation) -> None:
    it.path.write_bytes(b"\x7fELF of another machine")
    _, why = Browsers(lambda: it.config, it.notes).ask(it.path)
    assert why == f"{it.path} --version failed: Exec format error"


# ---- a copy ----


def test_one_copy_is_kept_the_last(it: Installation) -> None:
    kept = None
    for _ in range(2):
        installed = it.browsers.installed()
        assert installed
        it.browsers.keep(installed)
        kept = it.browsers.kept()
        assert kept
        assert kept.build == installed.build
        assert kept.path == it.copies / kept.build / "chromium"
        assert (kept.path.parent / "locales/en.pak").read_text() == "words"
        assert not (kept.path.parent / "chrome-sandbox").stat().st_mode & stat.S_ISUID
        assert os.listdir(it.copies) == [kept.build]  # noqa: PTH208 - the names
        it.update()
        assert it.browsers.kept() == kept
    assert kept
    assert it.copies.stat().st_mode & 0o777 == 0o700
    it.browsers.used = kept
    assert it.browsers.config().browser.executable == str(kept.path)
    assert it.browsers.installed() != kept, "that is what the configuration names"


def test_a_copy_that_is_damaged_or_of_another_kind_is_none(it: Installation) -> None:
    installed = it.browsers.installed()
    assert installed
    it.browsers.keep(installed)
    config = it.config
    for change in ({"keep_previous": False}, {"flavour": "headless-shell"}):
        it.config = replace(config, browser=replace(config.browser, **change))
        assert it.browsers.kept() is None
    it.config = config
    assert it.browsers.kept()
    os.truncate(it.copies / installed.build / "chromium", 100)
    assert it.browsers.kept() is None


@pytest.mark.parametrize("why", ["full", "refused", "replaced", "stopped", "unreadable"])
def test_what_cannot_be_kept_leaves_the_copy_before(it: Installation, why: str) -> None:
    before = it.browsers.installed()
    assert before
    it.browsers.keep(before)
    it.update()
    installed = it.browsers.installed()
    assert installed
    if why == "full":
        it.config = replace(it.config, limits=Limits(disk_reserve=1 << 40))
    elif why == "refused":
        it.browsers.refused = "Permission denied"
    elif why == "replaced":
        with it.path.open("ab") as file:
            file.write(b"again")
    elif why == "stopped":
        it.browsers.end()
    else:
        it.path.unlink()
    with pytest.raises(OSError, match=r"much|denied|replaced|exit code -9"):
        it.browsers.keep(installed)
    kept = it.browsers.kept()
    assert kept
    assert kept.build == before.build
    assert os.listdir(it.copies) == [before.build]  # noqa: PTH208 - the names
