"""What the lease means for the readings of a host that starts sessions."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from waguard.config.sections import Config
from waguard.core.host.admission import Reading
from waguard.core.replace import replace
from waguard.daemon.database_lease import DatabaseLease

EMPTY = Reading(empty="no profile in it")


def lease(tmp_path: Path) -> DatabaseLease:
    config = Config()
    config = replace(
        config,
        paths=replace(config.paths, runtime=tmp_path),
        database=replace(config.database, key_file=tmp_path / "key"),
    )
    anything: Any = SimpleNamespace(
        instance="i", lease=None, lose_database=None, mark=None, guard=lambda **_: None
    )
    anything.recognize = anything.why_barred = None
    return DatabaseLease(
        lambda: config, anything, anything, anything, anything, anything, lend=lambda: None
    )


def test_a_folder_without_profiles_is_expected_after_a_takeover_until_one_was_there(
    tmp_path: Path,
) -> None:
    it = lease(tmp_path)
    assert it.on(EMPTY).empty
    it.keeper.took_over = True
    assert it.on(EMPTY).empty is None
    assert it.on(Reading(unreadable="its disk does not answer")).unreadable
    assert it.on(EMPTY).empty is None, "unknown is not a profile"
    assert it.on(Reading()).empty is None
    assert it.on(EMPTY).empty, "its disk was unmounted"
