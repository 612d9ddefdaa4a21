"""An import of the old service's profiles."""

from pathlib import Path
from typing import Any

from waguard.cutover import importing
from waguard.cutover.importing import ImportedProfile, Report, Request


def run(folder: Path, sessions: Path, **more: Any) -> Report:
    return importing.run(Request(folder=folder, sessions=sessions, **({"workspaces": {}} | more)))


def one(report: Report) -> ImportedProfile:
    [line] = report.lines
    return line
