"""A configuration as a test gives it: a file in the working folder, and an environment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from waguard.config.reading import load
from waguard.config.sections import Config
from waguard.errors import ConfigError

EXAMPLE: Final = Path(__file__).parents[2] / "etc/waguard.toml"


def loaded(text: str | bytes = "", environ: Mapping[str, str] | None = None) -> Config:
    path = Path("given.toml")
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(path, environ or {})


def refusal(text: str | bytes = "", environ: Mapping[str, str] | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as refused:
        loaded(text, environ)
    return refused.value
