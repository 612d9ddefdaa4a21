"""The command line: a file for each command, and the API client that they share."""

from waguard.cli.program import main

__all__ = ["main"]
