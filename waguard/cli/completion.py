"""``waguard completion``: a script that makes a shell complete commands, options and sessions."""

import argparse
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from waguard.cli import program

NAMES: Final = "waguard sessions list -o name 2>/dev/null | grep -x '[A-Za-z0-9_-]*'"
"""What completes a session; nothing where no daemon runs. Shells expand words: what the application wrote
into its table is none before it is known to be a name."""
_SESSIONS: Final = frozenset({"session", "sessions"})


class Place(Struct, frozen=True):
    """What may follow some words."""

    path: tuple[str, ...]
    words: tuple[str, ...]
    sessions: bool
    """Whether a session may follow."""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("shell", choices=tuple(_SHELLS))
    parser.set_defaults(command=_completion)


def _completion(arguments: argparse.Namespace) -> int:
    whole = program.parser(*program.COMMANDS)
    print(_SHELLS[arguments.shell](list(places(whole, ()))))
    return 0


def places(parser: argparse.ArgumentParser, path: tuple[str, ...]) -> Iterator[Place]:
    """That of a parser, and those of all below it."""
    inner: dict[str, argparse.ArgumentParser] = {}
    words: list[str] = []
    sessions = False
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to ask
        words += [option for option in action.option_strings if option.startswith("--")]
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            inner |= action.choices
        elif not action.option_strings:
            words += map(str, action.choices or ())
            sessions |= action.dest in _SESSIONS and path != ("sessions", "create")
    yield Place(path, (*inner, *words), sessions)
    for name, one in inner.items():
        yield from places(one, (*path, name))


def _key(path: Sequence[str]) -> str:
    return "".join(f"/{word}" for word in path)


def _words(place: Place) -> str:
    return " ".join([*place.words, *([f"$({NAMES})"] if place.sessions else [])])


def _follow(found: Sequence[Place]) -> str:
    """A pattern of all places but the first, for `case`."""
    return "|".join(_key(place.path) for place in found if place.path)


def _bash(found: Sequence[Place]) -> str:
    cases = "\n".join(f'    "{_key(it.path)}") words="{_words(it)}" ;;' for it in found)
    return f"""\
# bash completion of waguard; made by `waguard completion bash`
_waguard() {{
  local at="" words="" word
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case "$at/$word" in {_follow(found)}) at="$at/$word" ;; esac
  done
  case "$at" in
{cases}
  esac
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _waguard waguard"""


def _zsh(found: Sequence[Place]) -> str:
    cases = "\n".join(f'    ("{_key(it.path)}") found=({_words(it)}) ;;' for it in found)
    return f"""\
#compdef waguard
# zsh completion of waguard; made by `waguard completion zsh`
_waguard() {{
  local at="" word
  local -a found
  for word in ${{words[2,CURRENT-1]}}; do
    case "$at/$word" in ({_follow(found)}) at="$at/$word" ;; esac
  done
  case "$at" in
{cases}
  esac
  compadd -- $found || _files
}}
if [[ $funcstack[1] == _waguard ]]; then _waguard "$@"; else compdef _waguard waguard; fi"""


def _fish(found: Sequence[Place]) -> str:
    known = " ".join(_key(it.path) for it in found if it.path)
    lines = "\n".join(
        f'complete -c waguard -f -n \'__waguard_at "{_key(it.path)}"\' -a "{" ".join(it.words)}"'
        + (
            f'\ncomplete -c waguard -f -n \'__waguard_at "{_key(it.path)}"\' -a "({NAMES})"'
            if it.sessions
            else ""
        )
        for it in found
    )
    return f"""\
# fish completion of waguard; made by `waguard completion fish`
function __waguard_at
  set -l at ""
  for word in (commandline -opc)[2..-1]
    contains -- "$at/$word" {known}; and set at "$at/$word"
  end
  test "$at" = "$argv[1]"
end
{lines}"""


_SHELLS: Final = {"bash": _bash, "zsh": _zsh, "fish": _fish}
