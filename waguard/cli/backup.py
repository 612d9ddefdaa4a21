"""``waguard backup``: database, credentials, keys and configuration in one archive, also of a living daemon."""

import argparse
import sys
from pathlib import Path

from waguard.backup import saving
from waguard.cli import output
from waguard.cli.context import located
from waguard.cli.files import STDOUT
from waguard.cli.parsing import with_config, with_json
from waguard.cli.render import print_either, second
from waguard.core.backup_contents import Manifest
from waguard.errors import ConfigError
from waguard.host.files import sealing


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("folder", type=Path, metavar="FOLDER|-", help="-: to stdout")
    parser.add_argument(
        "--keep",
        type=_count,
        metavar="N",
        help="delete older backups of this folder, all but the newest N",
    )
    with_key_file(parser)
    with_json(parser)
    with_config(parser)
    parser.set_defaults(command=_backup)


def with_key_file(parser: argparse.ArgumentParser) -> None:
    """``--key-file``."""
    parser.add_argument(
        "--key-file", type=Path, metavar="FILE", help="encrypted: 64 hexadecimal digits"
    )


def _count(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")


def _backup(arguments: argparse.Namespace) -> int:
    folder: Path = arguments.folder
    found, reading = located(arguments)
    key = sealing.read_key(arguments.key_file) if arguments.key_file else None
    source = saving.Source(config=reading.config, configuration=found.path, key=key)
    try:
        if folder == STDOUT:
            _to_stdout(source, arguments)
            return 0
        path, manifest = saving.into_folder(source, folder, keep=arguments.keep)
        unproven = saving.unproven(source, folder, manifest)
    except OSError as error:
        raise ConfigError(
            f"{error.filename or folder} cannot be used: {error.strerror or error}",
            field="FOLDER",
            value=str(folder),
            remedy="name a folder that is there, with room on its disk; run this as root, or as the daemon's user",
        ) from None
    missing = [it for it in manifest.sessions if it.snapshot is None]
    said = [f"{path}: {len(manifest.sessions) - len(missing)} sessions, read back"]
    said += [f"without credentials: {it.session}: {it.why}" for it in missing]
    if unproven:
        said.append(
            f"older archives that stay, whatever --keep says: {len(unproven)}, up to {unproven[-1]}: backup.json was"
            " damaged or missing, and nobody knows which is the last with a session's credentials; move away what you do not need"
        )
    if key is None:
        said.append("it is not encrypted: who has it has the accounts (--key-file)")
    dump = saving.statements(reading.config)
    said += [f"the database is not in it; dump it: {line}" for line in dump]
    print_either(arguments, _value(str(path), manifest, dump), *said)
    return 0


def _value(path: str, manifest: Manifest, dump: list[str]) -> dict[str, object]:
    sessions = [
        {
            "session": it.session,
            "workspace": it.workspace,
            "snapshot": it.snapshot,
            "taken_at": second(it.taken_at) if it.taken_at is not None else None,
            "why": it.why,
        }
        for it in manifest.sessions
    ]
    return {
        "file": path,
        "made_at": second(manifest.made_at),
        "database": manifest.has_database,
        "dump": dump,
        "sessions": sessions,
    }


def _to_stdout(source: saving.Source, arguments: argparse.Namespace) -> None:
    if sys.stdout.isatty() or arguments.json or arguments.keep:
        raise ConfigError(
            "stdout is for the archive alone", field="FOLDER", remedy="redirect it to a file"
        )
    try:
        manifest = saving.into_stream(source, sys.stdout.buffer)
    except output.OutputLostError as lost:
        raise output.OutputLostError(str(lost), read=False) from None  # half an archive is none
    for it in manifest.sessions:
        if it.snapshot is None:
            output.say(f"without credentials: {it.session}: {it.why}\n")
    for line in saving.statements(source.config):
        output.say(f"the database is not in it; dump it: {line}\n")
