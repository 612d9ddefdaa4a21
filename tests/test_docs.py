"""The documents name what exists: links, files, commands, routes."""

import contextlib
import io
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from waguard.api.app import create_app
from waguard.cli.program import COMMANDS, parser

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = sorted(
    [*ROOT.glob("docs/**/*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))]
)
NAMES: Final = [str(path.relative_to(ROOT)) for path in DOCS]
# a path of the tree is named from its root, from waguard/, or from the document's folder
SUFFIXES: Final = "py|js|md|svg|html|css|toml|txt|service|conf"
FILE: Final = re.compile(rf"(?<![\w/.<>~-])[\w.-]+(?:/[\w.-]+)*\.(?:{SUFFIXES})(?![\w/*])")
FOLDER: Final = re.compile(r"`([\w.-]+(?:/[\w.-]+)*)/`")
LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
CODE: Final = re.compile(r"(?<!`)`waguard ([a-z-][^`]*)`(?!`)")
LINE: Final = re.compile(
    r"(?m)^ {4}(?:\$ )?(?:\.venv/bin/|sudo -u waguard )?waguard (?!at )([a-z][^#\n|&;<>]*)"
)
LEVEL: Final = re.compile(r"(?<=--level )L\b")
PLACEHOLDER: Final = re.compile(r"\b(?!INFO\b|ERROR\b)[A-Z]+\b|\"\$\(.*\)\"")
WORDS: Final = 900  # of the architecture; details have pages of their own
# not of this tree: what runs elsewhere, or is made
ELSEWHERE: Final = frozenset(
    {
        *("Node.js", "whatsapp-web.js", "wwebjs/whatsapp-web.js", "wppconnect-wa.js"),
        *("./waguard.toml", "application.py", "pm2-root.service"),
    }
)
# what waguard and make write, and an uppercase letter stands for something
FOLDERS_MADE: Final = frozenset(
    {
        *(".long", ".mutants", ".venv", "run", "state", "chromium"),
        *(
            "coming",
            "evidence",
            "media",
            "media/coming",
            "outgoing",
            "quarantine",
            "snapshots",
            "versions",
            "wajs",
            "workers",
        ),
    }
)


def tree() -> frozenset[str]:
    """Every file of the checkout, and every folder."""
    found: set[str] = set()
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [
            it for it in folders if it == ".ci" or not it.startswith((".", "__", "node_"))
        ]
        here = Path(folder).relative_to(ROOT)
        found |= {str(here), *(str(here / name) for name in files)}
    return frozenset(found)


TREE: Final = tree()
BASENAMES: Final = frozenset(Path(name).name for name in TREE)


def is_there(name: str, document: str) -> bool:
    """Whether the tree has it; a bare name may lie anywhere."""
    places = (name, f"waguard/{name}", str(Path(document).parent / name))
    return not TREE.isdisjoint(places) or ("/" not in name and name in BASENAMES)


def text_of(name: str) -> str:
    return (ROOT / name).read_text()


@pytest.mark.parametrize("name", NAMES)
def test_relative_links_lead_to_files_and_headings(name: str) -> None:
    wrong = []
    for link in LINK.findall(text_of(name)):
        path, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        target = (ROOT / name).parent / path if path else ROOT / name
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            wrong.append(link)
    assert not wrong


def anchors(text: str) -> set[str]:
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"(?m)^#+ (.+)$", text)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_files_and_folders_that_are_named_exist(name: str) -> None:
    text = text_of(name)
    files = {found for found in FILE.findall(text) if found not in ELSEWHERE}
    folders = {found for found in FOLDER.findall(text) if found.islower()} - FOLDERS_MADE
    assert {found for found in files | folders if not is_there(found, name)} == set()


def test_a_file_that_is_gone_is_found() -> None:
    text = "see `core/nothing.py`, docs/nothing.md, `<paths.state>/clock.json`, core/*.py and /etc/a.toml"
    assert FILE.findall(text) == ["core/nothing.py", "docs/nothing.md"]
    assert not is_there("core/nothing.py", "docs/api.md")
    assert is_there("core/blame.py", "docs/api.md")
    assert is_there("0004-lease.md", "docs/decisions/README.md")


def test_the_architecture_can_be_read_in_one_go() -> None:
    assert len(text_of("docs/architecture.md").split()) <= WORDS


# ---- commands ----


def commands(text: str) -> Iterator[str]:
    """Every command line that a document has, one for each alternative of ``a|b``."""
    for found in [*CODE.findall(text), *LINE.findall(text)]:
        plain = PLACEHOLDER.sub("1", re.sub(r"[\[\]…]", "", LEVEL.sub("INFO", found)))
        lines = [""]
        for word in plain.split():
            lines = [f"{line} {choice}".strip() for line in lines for choice in word.split("|")]
        yield from lines


@pytest.mark.parametrize("name", NAMES)
def test_commands_are_ones_that_the_command_line_knows(name: str) -> None:
    strict = parser(*COMMANDS)
    assert [it for it in commands(text_of(name)) if not is_known(strict, it)] == []


def is_known(strict: Any, command: str) -> bool:
    """A text may leave out the arguments of a command that it mentions."""
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(said):
        try:
            strict.parse_args(shlex.split(command))
        except SystemExit as error:
            return not error.code or "required" in said.getvalue()
    return True


def test_commands_are_found_in_all_documents() -> None:
    strict = parser(*COMMANDS)
    assert is_known(strict, "sessions restart a")
    assert is_known(strict, "sessions restart")
    assert not is_known(strict, "sessions refresh a")
    assert not is_known(strict, "status --everything")
    assert list(
        commands("`waguard sessions stop|start S`\n\n    $ waguard status -o wide  # all\n")
    ) == [
        "sessions stop 1",
        "sessions start 1",
        "status -o wide",
    ]
    assert sum(len(list(commands(text_of(name)))) for name in NAMES) > 100


# ---- routes ----


def test_the_pages_of_the_api_have_every_route_and_no_other() -> None:
    deps: Any = None  # nothing is asked
    served = {
        (route.method, route.resource.canonical)
        for route in create_app(deps).router.routes()
        if route.method != "HEAD" and route.resource
    }
    assert routes_of("docs/routes.md") == sorted(served)
    assert set(routes_of("docs/api.md")) <= served


def routes_of(name: str) -> list[tuple[str, ...]]:
    """Those that rows of its tables begin with."""
    rows = re.findall(r"(?m)^\| ((?:`[A-Z]+ /[^`]*`(?:, )?)+) \|", text_of(name))
    return sorted(tuple(it.split(" ")) for row in rows for it in re.findall(r"`([^`]+)`", row))
