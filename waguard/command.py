"""Which command a command line names, known before anything else is imported."""

from collections.abc import Sequence


def command_of(given: Sequence[str]) -> str:
    """The command: the first word that is no option, nor the value of ``--config``."""
    words = iter(given)
    for word in words:
        if word == "--config":
            next(words, None)
        elif not word.startswith("-"):
            return word
    return ""
