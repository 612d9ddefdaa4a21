import os
from pathlib import Path

import pytest

from waguard.host import configuration


@pytest.fixture(autouse=True)
def _unconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in this process: what configures waguard here is not for them."""
    for name in list(os.environ):
        if name.startswith("WAGUARD_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(configuration, "SYSTEM_FILE", Path("/nowhere/waguard.toml"))
