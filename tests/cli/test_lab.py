"""Commands of the lab where its extra is not installed."""

import importlib.util
from importlib.machinery import ModuleSpec

import pytest

from tests.cli.program import main
from waguard.cli import lab


@pytest.mark.parametrize(
    "command", [["demo"], ["lab", "cluster"], ["standin"], ["chaos", "--yes-break-things"]]
)
def test_a_missing_extra_is_named(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def find(name: str) -> ModuleSpec | None:
        return None if name == "cryptography" else importlib.util.find_spec(name)

    monkeypatch.setattr(lab, "find_spec", find)
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "cryptography" in said
    assert "pipx inject waguard cryptography" in said
