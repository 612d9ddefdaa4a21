"""An installation with sessions, and a host without any."""

from pathlib import Path

import pytest

from tests.backup.installation import Installation


@pytest.fixture
async def old(tmp_path: Path) -> Installation:
    made = Installation(tmp_path / "old")
    await made.fill()
    return made


@pytest.fixture
def new(tmp_path: Path) -> Installation:
    return Installation(tmp_path / "new")
