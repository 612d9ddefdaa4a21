"""Which Chromium is installed, which one a process runs, and a copy of one that worked. All calls block."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from waguard.config.sections import Config
from waguard.core.host.browser_update import SCRIPT
from waguard.core.replace import replace
from waguard.host import small_file
from waguard.host.files.private_files import private_folders
from waguard.host.process.executable import (
    VERSION,
    BrowserNotFoundError,
    find_executable,
    program,
    version_note,
)
from waguard.host.small_file import UnreadableError
from waguard.ports.process import BrowserFile

FOLDER: Final = "chromium"  # in ``paths.state``
LARGEST: Final = 2 << 30  # bytes; Debian's folder has 0.6 GB, with both flavours in it
_COPIED_WITHIN: Final = 900.0  # s
_DELETED: Final = " (deleted)"
_DRAFT: Final = ".new"
# where the file system shares them, without a byte more; no setuid, which the unit forbids
_AS_IT_IS: Final = ("-R", "--preserve=timestamps", "--reflink=auto")


def _run(
    argv: Sequence[str],
    timeout: float,
    begun: Callable[["subprocess.Popen[bytes]"], object] = lambda _: None,
) -> tuple[int, str]:
    """Exit code and output. Raises ``OSError``, ``subprocess.TimeoutExpired``; nothing of it is left."""
    child = subprocess.Popen(  # noqa: S603 - an executable of Chromium, or cp
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0,
    )
    try:
        begun(child)
        said, _ = child.communicate(timeout=timeout)
    except BaseException:
        os.killpg(child.pid, signal.SIGKILL)  # not reaped yet: the number is its own
        child.communicate()
        raise
    return child.returncode, said.decode(errors="replace")


class Browsers:
    """Fills ``ports.process.Browsers``. ``notes``: the folder in which workers note the versions of their Chromiums.
    The copy lies in ``<paths.state>/chromium/<flavour>/<build>``."""

    def __init__(self, config: Callable[[], Config], notes: Path, *, answers: float = 5.0) -> None:
        """``answers``: seconds for ``--version``, which takes 20 ms."""
        self._answers = answers
        self._config = config
        self._notes = notes
        self.used: BrowserFile | None = None
        self.outdated = 0
        self._known: dict[tuple[str, ...], BrowserFile] = {}
        """What was read of each program, all of it: by the path and what identifies the file."""
        self._ended = False
        self._copier: subprocess.Popen[bytes] | None = None

    def config(self) -> Config:
        """See ``ports.process.Browsers``."""
        config = self._config()
        if self.used is None:
            return config
        browser = replace(config.browser, executable=str(self.used.path))
        return replace(config, browser=browser)

    def installed(self) -> BrowserFile | None:
        """See ``ports.process.Browsers``."""
        browser: Any = self._config().browser
        try:
            path = find_executable(browser.executable, browser.flavour)
        except BrowserNotFoundError:
            return None
        return self._read(path, path) or BrowserFile(path=path, build=SCRIPT)

    def running(self, pid: int, name: str | None = None) -> BrowserFile | None:
        """See ``ports.process.Browsers``."""
        link = f"/proc/{pid}/exe"
        try:
            path = os.readlink(link).removesuffix(_DELETED)  # noqa: PTH115 - of each session, some seconds apart
            if name not in {None, os.path.basename(path)}:  # noqa: PTH119
                return None
            known = self._known.get(_identity(path, os.stat(link)))  # noqa: PTH116
        except OSError:
            return None
        return known or self._read(Path(link), Path(path))

    def _read(self, file: Path, path: Path) -> BrowserFile | None:
        if (seen := program(file)) is None:
            return None
        version = None
        with contextlib.suppress(OSError, ValueError, UnreadableError):
            known = small_file.read(version_note(path, seen, self._notes)).decode()
            version = known if VERSION.fullmatch(known) else None
        found = BrowserFile(path=path, build=_build(seen), version=version)
        if version:
            self._known[_identity(str(path), seen)] = found
        return found

    def ask(self, path: Path) -> tuple[str | None, str | None]:
        """See ``ports.process.Browsers``."""
        failed = f"{path} --version failed"
        try:
            code, said = _run([str(path), "--version"], self._answers)
        except subprocess.TimeoutExpired:
            return None, f"{path} --version did not answer within {self._answers:g} s"
        except OSError as error:
            return None, f"{failed}: {error.strerror}"
        found = VERSION.search(said)
        return (found[0], None) if found and not code else (None, f"{failed}: exit code {code}")

    @property
    def _copies(self) -> Path:
        config = self._config()
        return config.paths.state / FOLDER / config.browser.flavour

    def kept(self) -> BrowserFile | None:
        """See ``ports.process.Browsers``."""
        if not self._config().browser.keep_previous:
            return None
        with contextlib.suppress(OSError):
            for folder in self._copies.iterdir():
                for path in folder.iterdir():
                    if folder.name == _build(path.stat()):
                        return BrowserFile(path=path, build=folder.name)
        return None

    def keep(self, it: BrowserFile) -> None:
        """See ``ports.process.Browsers``."""
        source, target = it.path.parent, self._copies / it.build
        size = sum(path.lstat().st_size for path in source.rglob("*") if path.is_file())
        private_folders(self._copies)
        free = shutil.disk_usage(self._copies).free - (self._config().limits.disk_reserve << 20)
        if size > min(LARGEST, free):
            raise OSError(f"{source} has {size >> 20} MB: too much for {self._copies}")
        draft = target.with_suffix(_DRAFT)
        shutil.rmtree(draft, ignore_errors=True)
        try:
            self._run("cp", *_AS_IT_IS, "--", str(source), str(draft))
            self._run("sync", "-f", str(draft))
            seen = program(draft / it.path.name)
            if seen is None or _build(seen) != it.build:
                raise OSError(f"{it.path} was replaced meanwhile")
            if why := self.ask(draft / it.path.name)[1]:
                raise OSError(why)
            draft.rename(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        for other in self._copies.iterdir():
            if other != target:
                shutil.rmtree(other, ignore_errors=True)

    def end(self) -> None:
        """See ``ports.process.Browsers``."""
        self._ended = True
        if self._copier:
            self._copier.kill()

    def _run(self, *argv: str) -> None:
        def begun(child: "subprocess.Popen[bytes]") -> None:
            self._copier = child
            if self._ended:
                child.kill()

        try:
            code, said = _run(("nice", "-n", "19", *argv), _COPIED_WITHIN, begun)
        except subprocess.TimeoutExpired:
            raise OSError(f"{argv[0]} did not end within {_COPIED_WITHIN:g} s") from None
        if code:
            raise OSError(said.strip() or f"{argv[0]} failed: exit code {code}")


def _identity(path: str, seen: os.stat_result) -> tuple[str, ...]:
    return path, f"{seen.st_dev}-{seen.st_ino}", _build(seen)


def _build(seen: os.stat_result) -> str:
    return f"{seen.st_size}-{seen.st_mtime_ns}"
