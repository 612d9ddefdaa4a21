"""The long tests of upgrades replace texts of this version."""

import pytest

from tests.systemd.later_versions import ALL, Changes
from tests.systemd.unit import CHECKOUT


@pytest.mark.parametrize("changes", ALL)
def test_what_a_later_version_replaces_is_there(changes: Changes) -> None:
    for file, (before, _) in changes.items():
        assert (CHECKOUT / file).read_text().count(before) == 1
