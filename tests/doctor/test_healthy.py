"""On a host that is well the doctor says nothing but ok."""

import json
import re
from pathlib import Path
from typing import Final

import pytest

from tests.doctor.host import HOOK, Host
from waguard.doctor import examination
from waguard.doctor.examination import NAMES, OF_CLUSTER
from waguard.doctor.probes import profiles
from waguard.doctor.report import as_json, exit_code

GIVEN: Final = re.compile(
    r'''(?:\b(?:ok|skipped|warning|failed|make)\(\s*|^ +name(?:, checks)? = |^NAME: Final = |^ +names = \(\s*)"([^"]+)"''',
    re.MULTILINE,
)
"""The first argument of what makes a check, or the variable that is it."""


async def test_nothing_but_ok(host: Host) -> None:
    checks = await host.examine()
    assert [check for check in checks if check.result != "ok"] == []
    assert exit_code(checks) == 0


async def test_each_check_is_there_in_its_order(host: Host) -> None:
    names = dict.fromkeys(check.name for check in await host.examine())
    assert tuple(names) == tuple(it for it in NAMES if it not in OF_CLUSTER)


def test_the_report_has_a_place_for_each_check_that_the_code_can_give() -> None:
    folder = Path(examination.__file__).parent
    texts = [it.read_text() for it in (*folder.glob("*.py"), *folder.glob("checks/*.py"))]
    of_cutover = "webhook.stored"  # what stands before a configuration has it
    assert {name for text in texts for name in GIVEN.findall(text)} - {of_cutover} == set(NAMES)


async def test_nothing_is_changed(host: Host) -> None:
    await host.stop()
    (host.runtime / "waguard.pid").write_text("half")
    host.sessions.chmod(0o755)
    before = files(host.folder)
    await host.examine()
    assert files(host.folder) == before


async def test_what_is_corrected_meanwhile_is_no_finding(host: Host) -> None:
    correction = {"session": "s1", "reason": "r", "before": "b", "after": "a"}
    host.daemon.once["/api/reconcile"] = {"corrections": [correction]}
    assert await host.wrong() == []


async def test_a_profile_that_the_next_start_puts_in_its_place_is_not_missing(host: Host) -> None:
    nested = host.sessions / "1/s1/session-s1"
    nested.parent.mkdir(parents=True)
    host.at().profile.rename(nested)
    assert [check.seen for check in await host.wrong() if check.name == "profiles"] == []


async def test_a_check_that_breaks_leaves_the_others(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(profiles, "strays", broken)
    [check] = await host.wrong()
    assert (check.name, check.seen) == ("strays", "it could not be checked: RuntimeError: a bug")


async def test_no_password_is_shown(host: Host) -> None:
    url = f"http://me:sesame@127.0.0.1:{host.hook}{HOOK}?token=sesame"
    host.configure("webhook", url=url)
    host.receiver.status = 500
    host.environ["WAGUARD_DATABASE__URL"] = "mysql+asyncmy://me:sesame@127.0.0.1:1/wa"
    checks = await host.examine()
    assert {c.name for c in checks if c.result == "failed"} >= {"database", "receiver"}
    assert "sesame" not in json.dumps(as_json(checks))


def files(folder: Path) -> dict[str, tuple[int, int, int]]:
    """What could have changed of each; SQLite's index of its log is no content."""
    found = ((path, path.lstat()) for path in sorted(folder.rglob("*")))
    return {
        str(path): (seen.st_mode, seen.st_size, seen.st_mtime_ns * (not path.is_dir()))
        for path, seen in found
        if not path.name.endswith(("-shm", "-wal"))
    }


def test_the_document_names_each_check() -> None:
    text = (Path(__file__).parents[2] / "docs/doctor.md").read_text()
    table = text[: text.index("## ")]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| ")]
    named = [name.strip() for row in rows[1:] for name in row.split(",")]
    assert named == list(NAMES)
