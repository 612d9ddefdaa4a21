"""Names follow docs/glossary.md."""

import pytest

from tests.house import glossary, words

FILE = "waguard/some.py"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def tell_all(): ...", ["tell_all"]),
        ("async def _take(): ...", ["_take"]),
        ("def intake(): ...", []),
        ("def is_taken(): ...", []),
        ("class Surroundings: ...", ["Surroundings"]),
        ("class LaneQueue: ...", ["LaneQueue"]),
        ("def run(self, around): ...", ["around"]),
        ("self.told_at = 1", ["told_at"]),
        ("x: int = self.told", []),  # somebody else's name
        ("LEFT_OVER = left = over = 1", ["LEFT_OVER"]),
        ("import words as ledger", ["ledger"]),
        ("try: ...\nexcept E as verdict: ...", ["verdict"]),
        ("match 1:\n  case told: ...", ["told"]),
        ("turns = returns = 1", []),
        ("class Turns: ...", ["Turns"]),
        ("def notice(): ...\nnotice = 1", ["notice"]),
    ],
)
def test_names_are_found_where_they_are_defined(text: str, found: list[str]) -> None:
    assert [it.found for it in words.name_findings(FILE, text)] == found


def test_files_and_packages_are_names_too() -> None:
    assert [it.found for it in words.name_findings("waguard/lane_queue.py", "")] == ["lane_queue"]
    assert [it.found for it in words.name_findings("waguard/books/__init__.py", "")] == ["books"]


def test_what_is_allowed_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(words.ALLOWED, (FILE, "told_at"), "a column")
    assert not list(words.name_findings(FILE, "told_at = 1"))


def test_the_glossary_has_a_term_for_each_word_that_it_replaces() -> None:
    rules = glossary.names()
    assert {"told", "around", "lane"} <= {word for (word, *_) in rules.words}
    assert {"take", "notice"} <= rules.verbs.keys()
    assert "Surroundings" in rules.whole
    assert all([*rules.words.values(), *rules.whole.values(), *rules.verbs.values()])


@pytest.mark.timeout(600)  # it parses all of the source: 10 s of a core that others may have
def test_every_name_follows_the_glossary() -> None:
    found = words.findings()
    assert not found, f"docs/glossary.md has other words for these:\n{words.show(found)}"


def test_what_is_allowed_still_stands_there() -> None:
    texts = {file: (glossary.ROOT / file).read_text() for file, _ in words.ALLOWED}
    assert [key for key in words.ALLOWED if key[1] not in texts[key[0]]] == []


def test_the_command_lists_what_is_found_in_the_files_that_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = words.Finding("a.py", 3, "told", "report")
    monkeypatch.setattr(words, "findings", lambda: [one, one._replace(file="b.py")])
    assert words.main(["a.py"]) == 1
    assert capsys.readouterr().out == "a.py:3: 'told': write report\n"
    assert words.main(["c.py"]) == 0
