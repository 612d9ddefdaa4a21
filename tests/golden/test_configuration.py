"""A configuration file of an earlier release is read as what it was."""

from pathlib import Path

import msgspec
import pytest

from tests.golden import configuration
from tests.golden.formats import lost
from waguard.config.sections import SECTIONS

FILES = sorted(configuration.FOLDER.glob("*.toml"))


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_file_of_an_earlier_release_means_what_it_meant(path: Path) -> None:
    before = msgspec.json.decode(path.with_suffix(".json").read_bytes())
    assert lost(before, configuration.meaning(path)) == []


def test_the_newest_golden_file_has_every_key() -> None:
    kept = msgspec.json.decode(configuration.NEWEST.with_suffix(".json").read_bytes())
    known = {
        f"{name}.{field.name}"
        for name, section in SECTIONS.items()
        for field in msgspec.structs.fields(section)
    }
    named = {f"{section}.{key}" for section, keys in kept.items() for key in keys}
    assert known <= named, "add a golden file with the new key, and run `python -m tests.golden`"
