"""``python -m waguard`` and the command ``waguard``."""

import sys
from collections.abc import Sequence

INTERRUPTED = 130
"""The exit code after Ctrl-C."""


def main() -> int:
    """The exit code. What a daemon imports takes a while, in which signals arrive already."""
    runs = command_of(sys.argv[1:]) == "run"
    if runs:
        from waguard.host.process import early_signals  # noqa: PLC0415

        early_signals.remember()
    from waguard import cli  # noqa: PLC0415

    code = cli.main()
    if runs or code == INTERRUPTED:  # Ctrl-C waits for no thread that waits for an answer
        from waguard.host.process.departure import leave  # noqa: PLC0415

        leave(code)
    return code


def command_of(given: Sequence[str]) -> str:
    """The command: the first word that is no option, nor the value of ``--config``."""
    words = iter(given)
    for word in words:
        if word == "--config":
            next(words, None)
        elif not word.startswith("-"):
            return word
    return ""


if __name__ == "__main__":
    sys.exit(main())
