"""`make test-long`: the tests marked `long`, a few parts at once, the longest first. A part is a test file, or one test
of a file that would take longest.

    python .ci/long.py [what pytest takes to choose tests]

A part that passed on this very commit, with nothing uncommitted, is not run again; one of whose
tests some were skipped has not passed, but does not fail. Each part has its log. Exit codes: 0 none
failed, 1 one did, 2 there is nothing to run, 130 interrupted: the next run goes on where this ended.
"""

import asyncio
import contextlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(".long")
STATE = FOLDER / "passed.json"
TOOK = FOLDER / "seconds.json"  # of parts when they passed last, on whichever commit
TEST_LIMIT = 1_800  # s; the marker timeout sets another one for a test
PART_LIMIT = 3 * 3_600  # s; for what pytest's own limit does not end
ENDING = 60  # s
LAST_LINES = 40
CORES = os.cpu_count() or 1
AT_LEAST = max(3, CORES)  # parts at once: most of their time they wait
AT_MOST = 4 * AT_LEAST
BUSY = 2.0 * CORES  # the load beyond which no further part begins
SHOWN_AFTER = 60.0  # s until the load shows a part that has begun
ALONE = "tests/bench/"  # parts that measure
# each of their tests is a part: one behind the other they took 100 and 37 minutes
SPLIT = (
    "tests/lab/chaos/test_campaign.py",
    "tests/versions/test_simulation.py",
    "tests/e2e/cluster/test_hosts.py",
    "tests/e2e/test_standby.py",
    "tests/e2e/test_versions.py",
)
PYTEST = (sys.executable, "-m", "pytest", "-m", "long")


def chosen(arguments: list[str]) -> dict[str, list[str]]:
    """The tests by part."""
    command = [*PYTEST, "--collect-only", "-q", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    tests = [line for line in done.stdout.splitlines() if "::" in line]
    if done.returncode or not tests:
        print(done.stdout, "nothing to run", sep="\n")
        raise SystemExit(2)
    parts = dict[str, list[str]]()
    for test in tests:
        file = test.partition("::")[0]
        parts.setdefault(test if file in SPLIT else file, []).append(test)
    return parts


def tree() -> str | None:
    """What is tested; None: it has no name, for something is not committed."""
    reported = [
        subprocess.run(["git", *command], stdout=subprocess.PIPE, text=True, check=True).stdout
        for command in (("status", "--porcelain"), ("rev-parse", "HEAD"))
    ]
    whole = " whole" if os.environ.get("WHOLE") else ""  # as tests/seeds.py has it
    return None if reported[0] else reported[1].strip() + whole


def passed(commit: str | None) -> list[str]:
    """The tests that did on this commit."""
    try:
        known = json.loads(STATE.read_text())
    except (OSError, ValueError):
        return []
    return known["tests"] if commit and known["commit"] == commit else []


def remember(commit: str, tests: list[str]) -> None:
    _write(STATE, {"commit": commit, "tests": tests})


def took() -> dict[str, float]:
    """Seconds by part."""
    try:
        return dict(json.loads(TOOK.read_text()))
    except (OSError, ValueError):
        return {}


def longest_first(parts: list[str], seconds: dict[str, float]) -> list[str]:
    """So that none is left alone at the end; of what never ran nothing is known, but that single tests are long."""
    return sorted(parts, key=lambda part: (-seconds.get(part, math.inf), "::" not in part))


def _write(path: Path, content: object) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(content, indent=1))
    new.replace(path)


async def run(part: str, tests: list[str]) -> tuple[bool, str]:
    """Whether it did not fail, and pytest's last line."""
    log = FOLDER / (re.sub(r"[^\w.\[\]-]+", ".", part.replace(".py", "")) + ".log")
    print(f"{part}: {len(tests)} tests, {log} …", flush=True)
    command = [*PYTEST, "--timeout", str(TEST_LIMIT), "--durations=10", *tests]
    with log.open("w") as out:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=out, stderr=out, start_new_session=True
        )
        try:
            code = await asyncio.wait_for(process.wait(), PART_LIMIT)
        except BaseException as error:
            await end(process)
            if not isinstance(error, TimeoutError):
                raise
            out.write(f"\nended after {PART_LIMIT} s\n")
            code = 1
    lines = log.read_text().splitlines() or [f"it said nothing and ended with {code}"]
    if code:
        print(f"{part}: failed", *lines[-LAST_LINES:], sep="\n", flush=True)
    return code == 0, lines[-1].strip("= ")


class Places:
    """Where parts run: at least ``AT_LEAST`` at once, and more while the machine is not busy."""

    def __init__(self) -> None:
        self._taken = 0
        self._entering = asyncio.Lock()
        self._freed = asyncio.Event()

    async def __aenter__(self) -> None:
        async with self._entering:  # in the order in which they came
            while self._taken >= AT_LEAST:
                self._freed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._freed.wait(), SHOWN_AFTER)
                if self._taken < AT_MOST and os.getloadavg()[0] < BUSY:
                    break
            self._taken += 1

    async def __aexit__(self, *_: object) -> None:
        self._taken -= 1
        self._freed.set()


async def end(process: asyncio.subprocess.Process) -> None:
    """It and its processes: tests get the time to end what they started."""
    process.send_signal(signal.SIGINT)
    try:
        await asyncio.wait_for(process.wait(), ENDING)
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def main(arguments: list[str]) -> int:
    """The exit code."""
    by_part = chosen(arguments)
    FOLDER.mkdir(exist_ok=True)
    commit = tree()
    done = passed(commit)
    if commit is None:
        print("something is not committed: nothing is remembered, all is run")
    summary = dict.fromkeys(by_part, "passed before on this commit")
    failed = list[str]()
    places, seconds = Places(), took()

    async def one(part: str) -> None:
        async with places:
            began = time.monotonic()
            well, said = await run(part, by_part[part])
        lasted = time.monotonic() - began
        if well:
            seconds[part] = round(lasted, 1)
            _write(TOOK, seconds)
        else:
            failed.append(part)
        if well and commit and "skipped" not in said and tree() == commit:
            done.extend(by_part[part])
            remember(commit, done)
        summary[part] = f"{said} ({lasted:.0f} s)"

    left = [part for part, tests in by_part.items() if not set(tests) <= set(done)]
    left = longest_first(left, seconds)
    async with asyncio.TaskGroup() as together:
        for part in left:
            if not part.startswith(ALONE):
                together.create_task(one(part))
    for part in left:
        if part.startswith(ALONE):
            await one(part)
    lines = (f"{part}: {said}" for part, said in summary.items())
    print("", f"commit {commit or 'none'}, {time.strftime('%F %T')}", *lines, sep="\n")
    return int(bool(failed))


async def interruptible(arguments: list[str]) -> int:
    """The exit code. In the background of a shell SIGINT is ignored, and by every process that is started from there."""
    running, loop = asyncio.current_task(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, running.cancel)
    try:
        return await main(arguments)
    except asyncio.CancelledError:
        return 130


if __name__ == "__main__":
    sys.exit(asyncio.run(interruptible(sys.argv[1:])))
