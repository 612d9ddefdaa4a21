from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def folder(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, which relative paths start from."""
    monkeypatch.chdir(short_path)
    return short_path
