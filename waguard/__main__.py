"""``python -m waguard`` and the command ``waguard``."""

import sys

from waguard.command import command_of

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


if __name__ == "__main__":
    sys.exit(main())
