import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.doctor.host import Host, healthy


@pytest.fixture(autouse=True)
def _unconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    """What configures waguard here is not for the doctor."""
    for name in list(os.environ):
        if name.startswith("WAGUARD_"):
            monkeypatch.delenv(name)


@pytest.fixture
async def host(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    """One on which nothing is wrong."""
    monkeypatch.chdir(short_path)
    async with healthy(short_path) as made:
        yield made
