"""``waguard restore``: put a backup in place on a host without sessions."""

import argparse
import errno
from pathlib import Path
from typing import BinaryIO

from waguard.backup import restoring
from waguard.cli.backup import with_key_file
from waguard.cli.context import located
from waguard.cli.parsing import with_config, with_json
from waguard.cli.render import print_either
from waguard.errors import ConfigError
from waguard.host.files import sealing
from waguard.host.files.lock import remedy_of


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", type=Path, metavar="FILE", help="an archive of the command backup")
    parser.add_argument(
        "--old-host-is-dead",
        action="store_true",
        help="no other waguard runs these sessions, and none will: nobody but you can know it",
    )
    parser.add_argument(
        "--database-from-dump",
        action="store_true",
        help="the server's database is restored from a dump: print what to run on it before the start",
    )
    with_key_file(parser)
    with_json(parser)
    with_config(parser)
    parser.set_defaults(command=_restore)


def _opened(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        no_archive = isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError)
        raise ConfigError(
            f"{file} cannot be read: {error.strerror or error}",
            field="FILE",
            value=str(file),
            remedy="name an archive of the command backup"
            if no_archive
            else "run this as root, or as a user who may read it",
        ) from None


def _failed(error: OSError, state: Path) -> ConfigError:
    """What stopped a restore. The system names no file of a write: most of them go to ``state``."""
    folder = Path(error.filename).parent if error.filename else state
    if error.errno in {errno.EACCES, errno.EPERM}:
        remedy = "run this as root or as the daemon's user"
    else:
        remedy = remedy_of(error, folder) or f"repair it or its disk: `findmnt -T {folder}`, dmesg"
    return ConfigError(
        f"{error.filename or 'the restore'} cannot {'be used' if error.filename else 'go on'}: {error.strerror or error}",
        remedy=f"{remedy}; what was made is removed again",
    )


def _restore(arguments: argparse.Namespace) -> int:
    if not arguments.old_host_is_dead:
        raise ConfigError(
            "two waguards with the same credentials disconnect each other, and send twice",
            field="--old-host-is-dead",
            remedy="make sure that the old host runs no waguard, and never will, then say so",
        )
    found, reading = located(arguments)
    key = sealing.read_key(arguments.key_file) if arguments.key_file else None
    try:
        with _opened(arguments.file) as raw:
            from_dump = arguments.database_from_dump
            result = restoring.run(reading.config, found.path, raw, key, from_dump=from_dump)
    except OSError as error:
        raise _failed(error, reading.config.paths.state) from None
    restored = [it.session for it in result.manifest.sessions if it.snapshot]
    said = [f"restored: {len(restored)} sessions{': ' if restored else ''}{', '.join(restored)}"]
    said += [f"lost: {line}" for line in result.lost]
    said += [f"moved: what was there lies in {path}" for path in result.moved]
    said += [f"run on the database before the start: {line}" for line in result.statements]
    if result.configuration:
        said.append(f"the backup's configuration is another one: compare {result.configuration}")
    said.append("next: waguard doctor, then start waguard")
    print_either(
        arguments,
        {
            "restored": restored,
            "lost": result.lost,
            "uncertain": result.counts.uncertain,
            "held": result.counts.held,
            "moved": result.moved,
            "statements": result.statements,
            "configuration": result.configuration,
        },
        *said,
    )
    return 0
