"""On a host that is well the doctor says nothing but ok."""

from pathlib import Path

from tests.doctor.host import Host
from waguard.doctor.examination import NAMES
from waguard.doctor.report import exit_code


async def test_nothing_but_ok(host: Host) -> None:
    checks = await host.examine()
    assert [check for check in checks if check.result != "ok"] == []
    assert exit_code(checks) == 0


async def test_each_check_is_there_in_its_order(host: Host) -> None:
    names = dict.fromkeys(check.name for check in await host.examine())
    assert tuple(names) == NAMES


async def test_nothing_is_changed(host: Host) -> None:
    await host.stop()
    (host.runtime / "waguard.pid").write_text("half")
    host.sessions.chmod(0o755)
    before = files(host.folder)
    await host.examine()
    assert files(host.folder) == before


def files(folder: Path) -> dict[str, tuple[int, int, int]]:
    """What could have changed of each; SQLite's index of its log is no content."""
    found = ((path, path.lstat()) for path in sorted(folder.rglob("*")))
    return {
        str(path): (seen.st_mode, seen.st_size, seen.st_mtime_ns * (not path.is_dir()))
        for path, seen in found
        if not path.name.endswith(("-shm", "-wal"))
    }


def test_the_document_names_each_check() -> None:
    table = (Path(__file__).parents[2] / "docs/doctor.md").read_text()
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| ")]
    named = [name.strip() for row in rows[1:] for name in row.split(",")]
    assert named == list(NAMES)
