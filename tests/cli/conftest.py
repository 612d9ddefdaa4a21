import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.fake_api import Api, served


@pytest.fixture(autouse=True)
def _unconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in this process: what configures waguard here is not for them."""
    for name in list(os.environ):
        if name.startswith("WAGUARD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")  # wider than any line that is cut


@pytest.fixture
def api(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """A daemon that the commands of this process find."""
    with served(short_path) as reported:
        monkeypatch.chdir(short_path)
        yield reported
