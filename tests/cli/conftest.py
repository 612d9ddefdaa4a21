import os

import pytest


@pytest.fixture(autouse=True)
def _unconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in this process: what configures waguard here is not for them."""
    for name in list(os.environ):
        if name.startswith("WAGUARD_"):
            monkeypatch.delenv(name)
