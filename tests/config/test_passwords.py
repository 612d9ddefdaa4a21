"""No password is shown."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from tests.config.configured import EXAMPLE, loaded, refusal
from waguard.config.passwords import has_password, is_database, passwords, without_passwords
from waguard.config.reading import holds_password, load
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
        ("mysql+asyncmy://me:[se]sa:me@db/wa", "mysql+asyncmy://me:***@db/wa"),
        ("mysql+asyncmy://me@org:sesame@db/wa", "mysql+asyncmy://me@org:***@db/wa"),
        ("http://host:80/hook?token=ses@me", "http://host:***"),
        ("mysql+asyncmy://me:ses?key=ame@db/wa", "mysql+asyncmy://me:***"),
        ("x://a:sesame@b/ and y://c:sesame@d/", "x://a:***@d/"),
        ("x://a/?key=sesame or y://c/?token=sesame", "x://a/?key=*** or y://c/?token=***"),
        ("--password-store=basic", "--password-store=basic"),
    ],
)
def test_addresses_are_shown_without_their_passwords(text: str, shown: str) -> None:
    assert without_passwords(text) == shown


@pytest.mark.parametrize(
    ("url", "held"),
    [
        ("mysql+asyncmy://me:se/sa@db/wa", True),
        ("mysql+asyncmy://me:se[sa@db/wa", True),
        ("mysql+asyncmy://db/wa?user=me&password=sesame", True),
        ("mysql+asyncmy://db:3306/wa?charset=utf8mb4", False),
        ("postgresql+asyncpg://[::1]:5432/wa", False),
    ],
)
def test_a_file_with_a_password_is_known_as_one(url: str, *, held: bool) -> None:
    assert loaded(f"[database]\nurl = '{url}' # a comment\n[log]\n").database.url == url
    assert holds_password(Path("given.toml")) is held


@pytest.mark.parametrize(
    ("comment", "held"),
    [
        ("http://proxy:8080 # ask bob@example", False),
        ("see http://proxy:8080/pac, by bob@example", False),
        ("'http://proxy:8080' of bob@example", False),
        ("was http://proxy:8080 and mysql://me:my sesame@db/wa", True),
        ("was mysql://8080:8080@db/wa", True),
        ("was http://proxy:8080/?token=sesame", True),
    ],
)
def test_a_port_is_no_password_of_who_is_named_behind_it(comment: str, *, held: bool) -> None:
    loaded(f"# {comment}\n[log]\n")
    assert holds_password(Path("given.toml")) is held


def test_a_password_that_begins_like_a_port_is_one() -> None:
    loaded("[database]\nurl = 'mysql+asyncmy://me:8080 sesame@db/wa'\n")
    assert holds_password(Path("given.toml"))


@pytest.mark.parametrize("part", ["://a:", "://", "://a", "&key", "key", "?key=", "&a", "://a:8/"])
def test_a_long_line_of_many_addresses_is_read_in_a_moment(part: str) -> None:
    """Once for each of them it would take hours."""
    for text in ("&" + part * 300_000, "&" + part * 300_000 + "\n@"):
        without_passwords(text)
        has_password(text)


def test_the_example_holds_no_password() -> None:
    assert not holds_password(EXAMPLE)


@pytest.mark.parametrize(
    "url",
    [
        "mysql+asyncmy://me:sesame/db",
        "mysql+asyncmy://db:/wa",
        "mysql+asyncmy://me:x@sesame@db/wa",
        "mysql+asyncmy://me:x@[::1]sesame/wa",
        "mysql+asyncmy://db/wa?password=x sesame",
    ],
)
def test_a_database_that_is_read_otherwise_than_it_is_meant_is_refused(url: str) -> None:
    error = refusal(f"[database]\nurl = '{url}'")
    assert error.field == "database.url"
    assert "%40" in str(error.remedy)
    assert "sesame" not in error.line()


ODD = "up:/@[]?&=%2 #+\n"


@given(st.text(ODD), st.sampled_from(["", "mysql+asyncmy://"]))
def test_an_address_that_is_accepted_is_read_as_sqlalchemy_reads_it(rest: str, begin: str) -> None:
    url = begin + rest
    known = passwords(url)  # of any text: it is never an error
    if is_database(url):
        read = make_url(url)
        assert not read.password or read.password in known
        assert "@" not in (read.host or "")


def test_a_space_in_the_query_ends_no_address_but_a_password() -> None:
    at = "mysql+asyncmy://u:p@h/wa?"
    assert is_database(f"{at}init_command=SET NAMES utf8mb4")
    assert not is_database(f"{at}password=open sesame")


@given(st.text(ODD), st.text(ODD), st.text("u%2@"), st.sampled_from(["h", "[::1]", "h:1", ""]))
def test_what_sqlalchemy_reads_as_a_password_is_never_shown(
    before: str, behind: str, user: str, host: str
) -> None:
    written = f"{before}SESAME{behind}"
    for url in (f"x://{user}:{written}@{host}/wa", f"x://{host}/wa?user=u&password={written}"):
        if not is_database(url):
            continue
        read = make_url(url)
        for used in (read.password, read.query.get("password")):
            if isinstance(used, str) and "SESAME" in used:
                assert used in passwords(url)
                assert "SESAME" not in without_passwords(url)
                assert has_password(url)
