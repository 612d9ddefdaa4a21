"""The script that is injected: the pinned one, or one that ops chose."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.host.processes import worker_spec
from waguard.errors import ConfigError
from waguard.host.memory.wajs_store import version_of
from waguard.worker.page import wajs


def test_the_packed_one_is_the_one_that_was_tested() -> None:
    assert len(wajs.bundle(None)) > 500_000
    assert version_of(wajs.PACKED.read_bytes()) == wajs.VERSION
    assert wajs.bundle(None) is wajs.bundle(None)  # workers share it with their fork server


def test_a_packed_one_that_was_changed_is_refused(tmp_path: Path) -> None:
    changed = tmp_path / "wppconnect-wa.js"
    changed.write_bytes(wajs.PACKED.read_bytes() + b"\n")
    with pytest.raises(ConfigError, match="not the wa-js that this version was tested with") as it:
        wajs.bundle(None, packed=changed)
    assert it.value.field == "whatsapp.wajs"
    assert it.value.remedy


def test_a_packed_one_that_is_missing_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read") as it:
        wajs.bundle(None, packed=tmp_path / "none.js")
    assert "make setup" in str(it.value.remedy)


def test_another_one_is_ops_own_choice(tmp_path: Path) -> None:
    other = tmp_path / "newer.js"
    other.write_text("window.WPP = 'ü';", encoding="utf-8")
    assert wajs.bundle(other) == "window.WPP = 'ü';"


def test_a_chosen_one_is_what_was_chosen(tmp_path: Path) -> None:
    other = tmp_path / "newer.js"
    other.write_text("window.WPP = 'ü';", encoding="utf-8")
    chosen = wajs.digest("window.WPP = 'ü';")
    assert wajs.bundle(other, chosen) == "window.WPP = 'ü';"
    other.write_text("window.WPP = 'u';", encoding="utf-8")
    with pytest.raises(ConfigError, match="is not the wa-js that was chosen: its SHA-256 is") as it:
        wajs.bundle(other, chosen)
    assert wajs.digest("window.WPP = 'u';") in it.value.message


@pytest.mark.parametrize("kind", ["missing", "changed"])
def test_a_chosen_one_that_was_damaged_is_no_reason_to_stand_still(
    tmp_path: Path, kind: str
) -> None:
    other = tmp_path / "newer.js"
    if kind == "changed":
        other.write_text("window.WPP = 'u';")
    chosen = replace(worker_spec(tmp_path), wajs=str(other), wajs_sha256="0f" * 32)
    assert wajs.of_spec(chosen) == wajs.bundle(None)
    with pytest.raises(ConfigError):  # an operator named this one
        wajs.of_spec(replace(chosen, wajs=str(tmp_path / "none.js"), wajs_sha256=None))


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
