"""``waguard profile``: files on this host; what changes one is refused while its worker lives."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec.structs import asdict

from waguard.cli import profile_commands
from waguard.cli.context import config_of, in_place
from waguard.cli.parsing import verb, verbs_of, with_config, with_json
from waguard.cli.profile_commands import ProfileLine
from waguard.cli.render import print_either, print_json, print_table
from waguard.errors import ConfigError
from waguard.host.files.acting import as_owner_of
from waguard.host.memory import installation_file, restore_journal
from waguard.profile import snapshot_now
from waguard.profile.layout import Places


def add(parser: argparse.ArgumentParser) -> None:
    """Add the noun's verbs."""
    verbs = verbs_of(parser)
    listing = verb(verbs, "list", _profile_list, "every profile, its state, its snapshots")
    with_json(listing)
    with_config(listing)
    for name, work, about in (
        ("verify", _profile_verify, "read a profile and all its snapshots, with every checksum"),
        ("snapshot", _profile_snapshot, "copy the credentials now, running or not"),
        ("restore", _profile_restore, "put a snapshot in the place of a stopped session's profile"),
        ("quarantine", _profile_quarantine, "quarantine a stopped session's profile"),
    ):
        one = verb(verbs, name, work, about)
        one.add_argument("session")
        one.add_argument(
            "--workspace", type=int, metavar="N", help="where several have a profile of this name"
        )
        if name == "restore":
            one.add_argument("--snapshot", metavar="ID", help="the newest intact one by default")
        with_json(one)
        with_config(one)


def _profile_list(arguments: argparse.Namespace) -> int:
    with _sessions(arguments) as sessions:
        lines = profile_commands.listing(sessions)
        is_bare = installation_file.is_bare(sessions)
    if arguments.json:
        print_json({"profiles": [_value(line) for line in lines]})
        return 0
    rows = [
        {
            "session": line.session,
            "workspace": line.workspace,
            "state": line.state,
            "paired": {True: "yes", False: "no", None: "unknown"}[line.paired],
            "mb": f"{line.size / 1e6:.1f}",
            "snapshots": len(line.snapshots),
            "why": line.why,
        }
        for line in lines
    ]
    if rows:
        print_table(rows, tuple(rows[0]))
    elif is_bare:
        print(f"no profiles: {sessions} is empty; where there were some, mount its disk")
    else:
        print("no profiles yet")
    return 0


def _value(line: ProfileLine) -> dict[str, Any]:
    """For a machine; sizes are bytes. Whose pairing a snapshot has is nobody's business."""
    shown = [
        {"id": it.id, "taken_at": _iso(it.taken_at), "intact": it.intact} for it in line.snapshots
    ]
    return {**asdict(line), "snapshots": shown}


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


@contextmanager
def _sessions(arguments: argparse.Namespace) -> Iterator[Path]:
    sessions = config_of(arguments).paths.sessions
    with in_place("paths.sessions", sessions):
        if not sessions.is_dir():
            raise ConfigError(
                f"{sessions} is not there",
                field="paths.sessions",
                value=str(sessions),
                remedy="mount its disk; waguard's first start makes one that was never there",
            )
        yield sessions


@contextmanager
def _profile(arguments: argparse.Namespace) -> Iterator[Places]:
    with _sessions(arguments) as sessions:
        yield profile_commands.find(sessions, arguments.session, workspace=arguments.workspace)


def _forget_restore(arguments: argparse.Namespace) -> None:
    """What a restore that was killed had put in place is used from now on."""
    state = config_of(arguments).paths.state
    with as_owner_of(state):
        restore_journal.forget(state)


def _profile_verify(arguments: argparse.Namespace) -> int:
    with _profile(arguments) as at:
        verified = profile_commands.verify(at)
    line, damaged = verified.line, dict(verified.damaged)
    print_either(
        arguments,
        {**_value(line), "good": verified.good, "damaged": damaged},
        f"{line.session}: {line.state}{f', {line.why}' if line.why else ''}",
        *(f"  snapshot {it.id}: {damaged.get(it.id, 'intact')}" for it in line.snapshots),
    )
    return 0 if verified.good else 1


def _profile_snapshot(arguments: argparse.Namespace) -> int:
    with _profile(arguments) as at:
        taken = snapshot_now.create(at)
    print_either(
        arguments,
        {"session": arguments.session, "snapshot": taken.id, "size": taken.archive_size},
        f"snapshot {taken.id}: {len(taken.files)} files, {taken.archive_size / 1e3:.0f} kB",
    )
    return 0


def _profile_restore(arguments: argparse.Namespace) -> int:
    _forget_restore(arguments)
    with _profile(arguments) as at:
        restored = profile_commands.restore(at, arguments.snapshot)
    print_either(
        arguments,
        {"session": arguments.session, **asdict(restored)},
        f"{arguments.session}: snapshot {restored.snapshot} is in place",
        *([f"the old profile lies in {restored.aside}"] if restored.aside else []),
    )
    return 0


def _profile_quarantine(arguments: argparse.Namespace) -> int:
    _forget_restore(arguments)
    with _profile(arguments) as at:
        copy = profile_commands.quarantine(at)
    print_either(
        arguments,
        {"session": arguments.session, "aside": str(copy)},
        f"{arguments.session}: its profile lies in {copy}; it begins again, by QR code",
    )
    return 0
