"""No password is shown."""

from collections.abc import Mapping

import pytest

from tests.config.configured import refusal
from waguard.config.passwords import without_passwords
from waguard.config.reading import load
from waguard.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "environ", "field"),
    [
        ("[database]\nurl = ['mysql://me:sesame@db/wa']", {}, "database.url"),
        ('[database]\nurl = "mysql://me:sesame@db/wa\\u0000"', {}, "database.url"),
        ("[database]\nulr = 'mysql://me:sesame@db/wa'", {}, "database.ulr"),
        ("[database]\npassword = 'sesame'", {}, "database.password"),
        ("[data_base]\nurl = 'mysql://me:sesame@db/wa'", {}, "data_base"),
        ("database = 'mysql://me:sesame@db/wa'", {}, "database"),
        ("[webhook]\nurl = 'htp://me:sesame@host/'", {}, "webhook.url"),
        ("", {"WAGUARD_DATABASE__ULR": "mysql://me:sesame@db/wa"}, "database.ulr"),
        ("", {"WAGUARD_DATA_BASE__URL": "mysql://me:sesame@db/wa"}, "WAGUARD_DATA_BASE__URL"),
    ],
)
def test_a_secret_is_never_echoed(text: str, environ: Mapping[str, str], field: str) -> None:
    error = refusal(text, environ)
    assert error.field == field
    assert "sesame" not in error.line()
    assert "sesame" not in repr(vars(error))
    assert "(not shown)" in error.line()


def test_a_database_of_another_kind_is_refused_without_its_password() -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {"WAGUARD_DATABASE__URL": "oracle://user:hunter2@host/db"})
    assert "hunter2" not in caught.value.line()
    assert caught.value.field == "database.url"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mysql+asyncmy://me:sesame@db/wa", "mysql+asyncmy://me:***@db/wa"),
        ("mysql+asyncmy://me:se/sa@me@db/wa", "mysql+asyncmy://me:***@db/wa"),
        ("http://db/wa?a=1&sslpassword=sesame&b=2", "http://db/wa?a=1&sslpassword=***&b=2"),
        ("postgresql+asyncpg://me@[::1]:5432/wa", "postgresql+asyncpg://me@[::1]:5432/wa"),
        ("http://host:80/hook?TOKEN=sesame", "http://host:80/hook?TOKEN=***"),
        ("--password-store=basic", "--password-store=basic"),
    ],
)
def test_addresses_are_shown_without_their_passwords(text: str, shown: str) -> None:
    assert without_passwords(text) == shown
