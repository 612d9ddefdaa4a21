"""A configuration file of an earlier release is read as what it was."""

from pathlib import Path

import msgspec
import pytest

from tests.golden import configuration
from tests.golden.formats import lost
from waguard.config.reading import read
from waguard.config.retired import RETIRED
from waguard.config.sections import SECTIONS

FILES = sorted(configuration.FOLDER.glob("*.toml"))


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_file_of_an_earlier_release_means_what_it_meant(path: Path) -> None:
    before = msgspec.json.decode(path.with_suffix(".json").read_bytes())
    for key in RETIRED:
        section, name = key.split(".")
        before.get(section, {}).pop(name, None)
    assert lost(before, configuration.meaning(path)) == []


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_each_retired_key_of_an_earlier_file_is_a_warning(path: Path) -> None:
    kept = msgspec.json.decode(path.with_suffix(".json").read_bytes())
    named = {f"{section}.{key}" for section, keys in kept.items() for key in keys}
    said = read(path, {}).retired
    assert {line.partition(" of ")[0] for line in said} == named & RETIRED.keys()


def test_every_key_is_in_a_golden_file() -> None:
    kept = [msgspec.json.decode(path.with_suffix(".json").read_bytes()) for path in FILES]
    known = {f"{name}.{key}" for name, it in SECTIONS.items() for key in it.__struct_fields__}
    named = {f"{section}.{key}" for one in kept for section, keys in one.items() for key in keys}
    assert known <= named, f"add a file to {configuration.FOLDER}, run `python -m tests.golden`"
