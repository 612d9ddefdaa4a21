"""``waguard import``: copy the profiles of whatsapp-web.js to where waguard has its own."""

import argparse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from waguard.cli import context
from waguard.cli.client import ApiCallError, ApiClient
from waguard.cli.parsing import with_config, with_json
from waguard.cli.render import print_json, print_table, second
from waguard.config.sections import Config
from waguard.core.profile.old_profiles import Outcome
from waguard.cutover import importing
from waguard.cutover.importing import ImportedProfile, Report, Request
from waguard.errors import ConfigError, printable
from waguard.host.files.acting import as_owner_of
from waguard.host.memory import restore_journal
from waguard.profile import layout


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--from",
        dest="folder",
        type=Path,
        metavar="FOLDER",
        help="where the old service has them, or a backup of it (paths.sessions)",
    )
    parser.add_argument(
        "--workspace",
        type=int,
        metavar="N",
        help="for sessions of which neither path, name nor row says the workspace",
    )
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done")
    with_json(parser)
    with_config(parser)
    parser.set_defaults(command=_import)


def _import(arguments: argparse.Namespace) -> int:
    # what lies where earlier versions looked is no obstacle: it is imported
    _, reading = context.read(arguments)
    sessions = reading.config.paths.sessions
    folder: Path = arguments.folder or sessions
    rows = _rows(reading.config)
    if not arguments.dry_run:
        with as_owner_of(reading.config.paths.state):
            restore_journal.forget(reading.config.paths.state)
    try:
        report = importing.run(
            Request(
                folder=folder,
                sessions=sessions,
                workspaces=rows or {},
                workspace=arguments.workspace,
                dry_run=arguments.dry_run,
            )
        )
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be read: {error.strerror}",
            field="--from" if arguments.folder else "paths.sessions",
            value=str(folder),
            remedy="name the old service's folder: waguard import --from FOLDER",
        ) from None
    if arguments.json:
        print_json(_as_json(folder, sessions, report, dry_run=arguments.dry_run))
    else:
        _print(folder, report, rows, dry_run=arguments.dry_run)
    return 1 if report.failed else 0


def _rows(config: Config) -> Mapping[str, int] | None:
    """The workspaces of the sessions that the daemon knows; None: there is no daemon to ask."""
    try:
        listed = ApiClient.of(config).call("GET", "/api/sessions")["sessions"]
    except ApiCallError:
        return None
    return {str(row["session_id"]): int(row["workspace_id"]) for row in listed}


def _as_json(folder: Path, sessions: Path, report: Report, *, dry_run: bool) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "dry_run": dry_run,
        "profiles": [
            {
                **_row(line),
                "bytes": line.profile.size,
                "used_at": _time(line),
                "path": line.profile.path,
                "why": line.why,
                "place": _place(sessions, line),
                "quarantined": line.quarantined,
            }
            for line in report.lines
        ],
        "notes": list(report.notes),
    }


def _place(sessions: Path, line: ImportedProfile) -> str | None:
    if line.outcome is not Outcome.TAKEN or line.session is None or line.workspace is None:
        return None
    return str(layout.path(sessions, line.workspace, line.session))


def _row(line: ImportedProfile) -> dict[str, Any]:
    return {
        "session": line.session,
        "workspace": line.workspace,
        "credentials": line.profile.credentials.value,
        "outcome": line.outcome.value,
    }


def _time(line: ImportedProfile) -> str | None:
    """To the second; None: it was never used, or that cannot be read."""
    used = line.profile.used_at
    return second(used) if used else None


def _print(folder: Path, report: Report, rows: Mapping[str, int] | None, *, dry_run: bool) -> None:
    for note in report.notes:
        print(printable(f"note: {note}"))
    if not report.lines:
        print(printable(f"no profiles in {folder}"))
        return
    table = [
        {
            **_row(line),
            "used": _time(line),
            "mb": f"{line.profile.size / 1e6:.1f}",
        }
        for line in report.lines
    ]
    print_table(table, ("outcome", "session", "workspace", "credentials", "used", "mb"))
    print()
    for line in report.lines:
        print(printable(f"{line.outcome}: {line.profile.path}: {line.why}"))
        if line.quarantined:
            print(printable(f"  the profile that was in its place lies in {line.quarantined}"))
    print()
    _print_end(report, rows, dry_run=dry_run)


def _print_end(report: Report, rows: Mapping[str, int] | None, *, dry_run: bool) -> None:
    counts = Counter(line.outcome for line in report.lines)
    summary = ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome)
    if dry_run:
        print(f"{summary} (dry run: nothing was changed)")
        return
    print(f"{summary}; the originals are as they were")
    taken = [line for line in report.lines if line.outcome is Outcome.TAKEN]
    if taken and rows is None:
        print("next: start waguard; it brings up the sessions that are in its database")
    for line in taken:
        if rows is None or line.session not in rows:
            said = "where it is not in the database: " if rows is None else "next: "
            print(f"{said}waguard sessions create {line.session} --workspace {line.workspace}")
        else:
            print(f"next: waguard sessions start {line.session}")
