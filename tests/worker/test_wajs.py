"""The script that is injected: the pinned one, or one that ops chose."""

from pathlib import Path

import pytest

from waguard.errors import ConfigError
from waguard.worker import wajs


def test_the_packed_one_is_the_one_that_was_tested() -> None:
    assert len(wajs.bundle(None)) > 500_000


def test_a_packed_one_that_was_changed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = tmp_path / "wppconnect-wa.js"
    changed.write_bytes(wajs.PACKED.read_bytes() + b"\n")
    monkeypatch.setattr(wajs, "PACKED", changed)
    with pytest.raises(ConfigError, match="not the wa-js that this version was tested with") as it:
        wajs.bundle(None)
    assert it.value.field == "whatsapp.wajs"
    assert it.value.remedy


def test_a_packed_one_that_is_missing_tells_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wajs, "PACKED", tmp_path / "none.js")
    with pytest.raises(ConfigError, match="cannot be read") as it:
        wajs.bundle(None)
    assert "make setup" in str(it.value.remedy)


def test_another_one_is_ops_own_choice(tmp_path: Path) -> None:
    other = tmp_path / "newer.js"
    other.write_text("window.WPP = 'ü';", encoding="utf-8")
    assert wajs.bundle(other) == "window.WPP = 'ü';"


@pytest.mark.parametrize("kind", ["missing", "a folder", "no text"])
def test_another_one_that_is_no_script(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "other.js"
    if kind == "a folder":
        path.mkdir()
    if kind == "no text":
        path.write_bytes(b"\x1f\x8b\x08\xff")
    with pytest.raises(ConfigError) as it:
        wajs.bundle(path)
    assert it.value.field == "whatsapp.wajs"
    assert it.value.value == str(path)
    assert "make setup" not in str(it.value.remedy)
