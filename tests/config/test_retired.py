"""Keys of earlier versions: a warning that says what is so now, and no error."""

from pathlib import Path

import pytest

from waguard.config.reading import read
from waguard.config.retired import RETIRED
from waguard.config.sections import SECTIONS, Config
from waguard.errors import ConfigError


@pytest.mark.parametrize("key", sorted(RETIRED))
def test_a_retired_key_is_a_warning_whatever_its_value_is(key: str, tmp_path: Path) -> None:
    section, name = key.split(".")
    path = tmp_path / "waguard.toml"
    path.write_text(f"[{section}]\n{name} = 'anything'\n")
    variable = f"WAGUARD_{section}__{name}".upper()
    reading = read(path, {variable: "anything"})
    assert reading.retired == (
        f"{key} of {path} has no effect any more: {RETIRED[key]}; remove it",
        f"{variable} has no effect any more: {RETIRED[key]}; remove it",
    )
    assert getattr(reading.config, section) == getattr(Config(), section)


def test_no_key_is_retired_and_known() -> None:
    known = {f"{name}.{key}" for name, it in SECTIONS.items() for key in it.__struct_fields__}
    assert not known & RETIRED.keys()
    assert {key.partition(".")[0] for key in RETIRED} <= SECTIONS.keys()


def test_a_key_that_never_was_is_an_error_beside_retired_ones(tmp_path: Path) -> None:
    path = tmp_path / "waguard.toml"
    path.write_text("[versions]\nkeep = 3\nkept = 3\n")
    with pytest.raises(ConfigError, match="unknown key"):
        read(path, {})


def test_a_configuration_of_today_has_no_warning() -> None:
    assert read(None, {}).retired == ()
