"""Writes docs/configuration.md: keys, defaults and what is allowed from the structs, meanings from the
comments of etc/waguard.toml.

``python -m tests.configuration_docs`` writes it; a test compares.
"""

import re
from pathlib import Path
from typing import Final

import msgspec
from msgspec import inspect

from waguard.cli.config_commands import default
from waguard.config.sections import RELOADABLE, SECTIONS
from waguard.host.configuration_file import SYSTEM_FILE, VARIABLE

ROOT: Final = Path(__file__).parents[1]
TARGET: Final = ROOT / "docs/configuration.md"
SOURCE: Final = ROOT / "etc/waguard.toml"
HEAD: Final = f"""# Configuration
<!-- written by python -m tests.configuration_docs; the meanings are the comments of etc/waguard.toml -->
One file in TOML, which the daemon and every command find alike: `--config FILE`, else `${VARIABLE}`, else
`{SYSTEM_FILE}`, else `./waguard.toml`, else there is none. An unreadable file is an error (exit code 2), never
skipped; so is a `./waguard.toml` that belongs to another user, or that others or another group than waguard's own may write.

Relative paths, also of the environment, are relative to the file's folder, without a file to the working folder. Earlier versions
always took the working folder, and read no file without `--config`: where profiles, a key or a database lie there and none in the new
place, waguard ends with exit code 2 and names both.

Each key is also an environment variable, `WAGUARD_<SECTION>__<KEY>`, which beats the file (lists as JSON). A start and a reload
log variables that hide a key of the file, and keys of earlier versions, which are constants now (`config/retired.py`).

- `waguard config check` reads the file, and the files of keys and secrets that it names, as the daemon would at a start. Of the
  installed unit's file it also checks whose the files are, and prints a drop-in for folders that the unit may not write.
- `waguard config show` has every key with its value, where that is from, and its default. It sees the
  environment of who asks, not the daemon's.
- `systemctl reload waguard` (SIGHUP) reads the file again; a wrong one changes nothing.
"""


def text() -> str:
    """The whole document."""
    comments = _comments(SOURCE.read_text())
    return "\n".join([HEAD, *(_section(name, comments) for name in SECTIONS)])


def _section(name: str, comments: dict[str, str]) -> str:
    effect = "at a reload" if name in RELOADABLE else "at a restart"
    about = f" {comments[name]}" if name in comments else ""
    lines = [
        f"## {name}",
        f"A change takes effect {effect}.{about}",
        "",
        "| key | default | allowed | meaning |",
        "|---|---|---|---|",
    ]
    for field in msgspec.structs.fields(SECTIONS[name]):
        key = f"{name}.{field.name}"
        shown = f"`{default(name, field.name)}`".replace("`-`", "none")
        allowed = _allowed(inspect.type_info(field.type))
        lines.append(f"| `{key}` | {shown} | {allowed} | {_cell(comments[key])} |")
    return "\n".join([*lines, ""])


def _cell(words: str) -> str:
    return re.sub(r"<[\w.]+>", lambda tag: f"`{tag[0]}`", words).replace("|", "\\|")


def _allowed(kind: inspect.Type) -> str:
    match kind:
        case inspect.UnionType(types=types):
            return " or ".join(
                _allowed(one) for one in types if not isinstance(one, inspect.NoneType)
            )
        case inspect.IntType() | inspect.FloatType():
            bounds = {"≥": kind.ge, ">": kind.gt, "≤": kind.le, "<": kind.lt}
            limits = [f"{sign} {bound:,}" for sign, bound in bounds.items() if bound is not None]
            return ", ".join(
                ["whole number" if isinstance(kind, inspect.IntType) else "number", *limits]
            )
        case inspect.LiteralType(values=values):
            return ", ".join(f"`{value}`" for value in values)
        case inspect.BoolType():
            return "`true`, `false`"
        case inspect.StrType():
            return "text"
        case inspect.VarTupleType():
            return "list of texts"
        case inspect.TupleType(item_types=items):
            return f"{len(items)} times: {_allowed(items[0])}"
        case inspect.CustomType(cls=cls) if cls is Path:
            return "path"
    raise AssertionError(f"how is {kind} to be shown?")


def _comments(source: str) -> dict[str, str]:
    """What stands behind each key and section, and on the lines below it that only go on."""
    found: dict[str, str] = {}
    section = last = ""
    for line in source.splitlines():
        head = re.match(r"\[(\w+)\](?:\s+# (.*))?$", line)
        key = re.match(r"(?:# )?(\w+) = .*?(?:\s# (.*))?$", line)
        more = re.match(r"\s+# (.*)$", line)
        if head:
            section = last = head[1]
        elif key and section:
            last = f"{section}.{key[1]}"
        elif not more:
            continue
        words = (head or key or more or [""])[2 if head or key else 1]
        if words:
            found[last] = f"{found[last]} {words}" if last in found else words
    return found


if __name__ == "__main__":
    TARGET.write_text(text())
