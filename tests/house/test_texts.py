"""``make texts`` finds what a user can meet, and nothing that only a program reads."""

import pytest

from tests.house.texts import Text, of_other, of_python, table, texts

FILE = "waguard/some.py"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('log.warning("the disk is full")', [("log", "the disk is full")]),
        ('self._log.bind(event="x").info("all is stored")', [("log", "all is stored")]),
        ('log.debug("the disk is full")', []),
        ('raise ConfigError("no such key")', [("error", "no such key")]),
        ('raise Problem(text(f"no {key} here"))', [("error", "no {key} here")]),
        ('e = ApiCallError("no such key")', [("error", "no such key")]),
        ('print(f"session {name} is up")', [("output", "session {name} is up")]),
        ('add("--all", help="all sessions of it")', [("help", "all sessions of it")]),
        ('add("two words", help="all sessions of it")', [("text", "two words"), ("help", "all sessions of it")]),
        ('"""A docstring of it."""\nX = "a text\\n  of two lines"', [("text", "a text of two lines")]),
        ('X = f"a text {f(\'with another one\')} in it"', [("text", "a text {f('with another one')} in it"), ("text", "with another one")]),
        ('assert x, "for a developer"', []),
        ('re.compile("one or two")', []),
        ('x = "SELECT a FROM b"', []),
        ('await page.evaluate("the page runs it")', []),
        ('x = "value"', []),
    ],
)  # fmt: skip
def test_texts_of_code(code: str, found: list[tuple[str, str]]) -> None:
    assert [(it.kind, it.text) for it in of_python(FILE, code)] == found


def test_texts_of_other_files() -> None:
    html = list(of_other("some.html", "<p>\n<b>No session</b> is here\n</p>", "page"))
    assert html == [Text("some.html", 2, "page", "No session is here")]
    script = list(of_other("some.js", 'show(x, "is not up");\nif (a) b("c");', "page"))
    assert script == [Text("some.js", 1, "page", "is not up")]


def test_a_line_has_place_kind_and_text() -> None:
    found = [Text("a.py", 3, "log", "It is full."), Text("long.py", 10, "error", "It is gone.")]
    assert table(found) == "a.py:3      log     It is full.\nlong.py:10  error   It is gone."


def test_the_whole_tree_is_read() -> None:
    found = {(it.file, it.kind) for it in texts()}
    assert {
        ("waguard/core/remedies.py", "text"),
        ("waguard/core/conditions.py", "text"),
        ("waguard/cli/program.py", "help"),
        ("waguard/cli/sessions.py", "output"),
        ("waguard/daemon/root.py", "log"),
        ("waguard/config/checks.py", "error"),
        ("waguard/api/static/page.js", "page"),
        ("systemd/waguard.service", "unit"),
        ("etc/waguard.toml", "unit"),
    } <= found
