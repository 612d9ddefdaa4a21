"""``make mutants``: change the core at one place at a time, and see whether a test notices.

The changed module exists in the memory of one process only; no file is touched. Killers in this order,
until one fails: the module's own tests, all tests of the core that import it, the stories, the fuzz and a
short simulation. Results are appended to .mutants/, so an interrupted run goes on where it ended. Texts
and annotations are not changed.
"""

import argparse
import ast
import contextlib
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final, NamedTuple

import pytest

from tests.mutations import Mutation, mutations

CORE: Final = (
    *("blame", "engine"),
    *(
        f"session/{it}"
        for it in ("session", "worker", "care", "deadlines", "show", "views", "restart")
    ),
    *(f"fleet/{it}" for it in ("fleet", "slots", "acks", "memory", "state", "breaker")),
)
FOLDER: Final = Path(".mutants")
PROCESSES: Final = 2
MEMORY: Final = 2 << 30  # bytes
PATIENCE: Final = 120  # s of a core for all killers
PRELOADED: Final = ("hypothesis", "msgspec", "psutil", "pytest_asyncio", "pytest_timeout")
PLANS: Final = (  # seed, sessions, days, own faults a session-day, faults of all a day, dense
    (1, 4, 1.0, 24.0, 60.0, False),
    (11, 12, 0.1, 24.0, 60.0, False),
    (21, 6, 0.03, 200.0, 120.0, True),
)
# what is loaded already is not rewritten: these have no assertions of ours
ARGUMENTS: Final = (
    "-x",
    "-q",
    "-mnot long",
    "-p",
    "no:cacheprovider",
    "-Wignore::pytest.PytestAssertRewriteWarning",
)
KILLERS: Final = ("own tests", "core tests", "stories", "fuzz", "simulation")


class Job(NamedTuple):
    """One mutant that is being tried."""

    path: Path
    mutation: Mutation
    began: float


class Changed(importlib.machinery.SourceFileLoader):
    """Loads other source than what the file has."""

    source = ""

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.source, self.path, "exec", dont_inherit=True)


class Finder(importlib.abc.MetaPathFinder):
    """Finds one module changed."""

    def __init__(self, path: Path, source: str) -> None:
        self.name = ".".join(path.with_suffix("").parts)
        self.loader = Changed(self.name, str(path.resolve()))
        self.loader.source = source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(
            fullname, self.loader.path, loader=self.loader
        )


def imported(path: Path, known: dict[Path, set[Path]]) -> set[Path]:
    """All modules of the project that it imports, directly or not."""
    if path not in known:
        known[path] = {path}
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                base = Path(*node.module.split("."))
                for it in (base.with_suffix(".py"), *(base / f"{n.name}.py" for n in node.names)):
                    if it.exists():
                        known[path] |= imported(it, known)
    return known[path]


def pytest_killers(path: Path) -> list[list[str]]:
    """Test files, by killer."""
    own = "tests" / path.parent.relative_to("waguard") / f"test_{path.name}"
    known = dict[Path, set[Path]]()
    others = [
        str(it)
        for it in sorted(Path("tests/core").rglob("test_*.py"))
        if it != own and path in imported(it, known)
    ]
    stories = [
        *sorted(Path("tests/simulation").glob("test_*stories.py")),
        *sorted(Path("tests/versions").glob("test_*.py")),
    ]
    plays = [str(it) for it in stories if path in imported(it, known)]
    return [[str(own)] if own.exists() else [], others, plays]


def simulate() -> bool:
    """Whether something breaks."""
    from tests.simulation.story import DAY, breaks, draw_plan  # noqa: PLC0415 - after the change

    for seed, sessions, days, own, host, dense in PLANS:
        plan = draw_plan(seed, sessions, days * DAY, own=own, host=host)
        if breaks(seed, sessions, plan, dense=dense):
            return True
    return False


def fuzz() -> bool:
    """Whether something breaks."""
    from tests.simulation.fuzz import Fuzz  # noqa: PLC0415 - after the change
    from tests.simulation.watched import Seen  # noqa: PLC0415

    for seed in range(20):
        it = Fuzz(seed, Seen(), honest=seed % 2 == 0)
        for _ in range(400):
            it.step()
    return False


def try_out(path: Path, source: str, killers: list[list[str]]) -> int:
    """In a process of its own: 0 it lives, else 1 + the number of its killer."""
    sys.meta_path.insert(0, Finder(path, source))
    for number, files in enumerate(killers):
        if files and pytest.main([*ARGUMENTS, *files]) != pytest.ExitCode.OK:
            return 1 + number
    for number, breaks in enumerate((fuzz, simulate), len(killers)):
        try:
            if breaks():
                return 1 + number
        except Exception:  # noqa: BLE001 - the core never raises
            return 1 + number
    return 0


def fork(path: Path, source: str, killers: list[list[str]], limit: int) -> int:
    """The process that tries it out; it dies after ``limit`` seconds of a core."""
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    code = 1
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        code = try_out(path, source, killers)
    finally:
        os._exit(code)


def log_of(path: Path) -> Path:
    return FOLDER / f"{'.'.join(path.with_suffix('').parts)}.jsonl"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def results(path: Path) -> dict[str, str | None]:
    """By mutation of the file as it is now: who killed it; None: it lives."""
    known, now = dict[str, str | None](), digest(path)
    with contextlib.suppress(FileNotFoundError):
        for line in log_of(path).read_text().splitlines():
            it = json.loads(line)
            if it["file"] == now:
                known[it["mutation"]] = it["killer"]
    return known


def chosen(path: Path, share: float, *, again: bool) -> list[Mutation]:
    """What is still to be tried. A greater share contains a smaller one."""
    known = results(path)
    return [
        it
        for it in mutations(path.read_text())
        if int(hashlib.sha256(it.name.encode()).hexdigest()[:8], 16) < share * 2**32
        and (it.name not in known or (again and known[it.name] is None))
    ]


def run(path: Path, share: float, *, again: bool) -> None:
    """Try out all of one file, some at a time."""
    queue, killers = chosen(path, share, again=again), pytest_killers(path)
    if not queue:
        return
    source = path.read_text()
    began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    _, status = os.waitpid(fork(path, source, killers, PATIENCE), 0)
    if code := os.waitstatus_to_exitcode(status):
        sys.exit(f"{path}: {KILLERS[code - 1]} fail on what is not changed")
    took = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - began
    print(f"{path}: {len(queue)} to try, {took:.1f} s for one that lives", flush=True)
    jobs = dict[int, Job]()
    while queue or jobs:
        while queue and len(jobs) < PROCESSES:
            it, limit = queue.pop(0), int(5.0 + 4.0 * took)
            jobs[fork(path, it.apply(source), killers, limit)] = Job(path, it, time.monotonic())
        pid, status = os.wait()
        code = os.waitstatus_to_exitcode(status)
        remember(jobs.pop(pid), KILLERS[code - 1] if code > 0 else "timeout" if code else None)


def remember(job: Job, killer: str | None) -> None:
    it = {"file": digest(job.path), "mutation": job.mutation.name, "killer": killer}
    took = round(time.monotonic() - job.began, 1)
    with log_of(job.path).open("a") as log:
        log.write(json.dumps({**it, "seconds": took}) + "\n")


def report(path: Path) -> Iterator[str]:
    """What lives, and how many do not."""
    source, known = path.read_text(), results(path)
    tried = [it for it in mutations(source) if it.name in known]
    living = [it for it in tried if known[it.name] is None]
    for it in living:
        yield f"\n{path}:{it.line}\n{it.diff(source)}"
    by = Counter(known[it.name] for it in tried if known[it.name])
    of = sum(1 for _ in mutations(source))
    killers = ", ".join(f"{count} {name}" for name, count in by.most_common())
    yield f"{path}: {len(tried)} of {of} tried, {len(living)} live; killed by: {killers}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--share", type=float, default=1.0, help="of the mutants, 0 to 1")
    parser.add_argument("--again", action="store_true", help="try those again that live")
    parser.add_argument("--report", action="store_true", help="only show what is known")
    given = parser.parse_args()
    files = given.files or [Path("waguard/core") / f"{name}.py" for name in CORE]
    FOLDER.mkdir(exist_ok=True)
    os.nice(19)
    for name in PRELOADED:
        importlib.import_module(name)
    for path in () if given.report else files:
        run(path, given.share, again=given.again)
    for path in files:
        print(*report(path), sep="\n")


if __name__ == "__main__":
    main()
