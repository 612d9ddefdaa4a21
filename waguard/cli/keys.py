"""``waguard keys``: the keys of the API, in the file that the daemon reads at its start and at a reload."""

import argparse
import hashlib
import os
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from waguard.cli.asking import require_yes, with_yes
from waguard.cli.context import config_of, in_place
from waguard.cli.parsing import verb, verbs_of, with_config, with_json
from waguard.cli.render import print_either, print_json, print_table
from waguard.errors import ConfigError
from waguard.host import small_file
from waguard.host.files.acting import as_owner_of
from waguard.host.small_file import UnreadableError

COMMENT: Final = "#"
RELOAD: Final = "the daemon reads it at `systemctl reload waguard` (SIGHUP)"
_KEY: Final = "api.key_file"
_SHOWN: Final = 8  # hexadecimal digits of a fingerprint


def add(parser: argparse.ArgumentParser) -> None:
    """Add the noun's verbs."""
    verbs = verbs_of(parser)
    listing = verb(verbs, "list", _list, "where the keys are, and the fingerprint of each")
    with_json(listing)
    with_config(listing)
    show = verb(verbs, "show", _show, "print keys")
    show.add_argument("fingerprint", nargs="*", help="only these (all)")
    with_config(show)
    new = verb(verbs, "add", _add, "make a new key beside the others")
    with_json(new)
    with_config(new)
    remove = verb(verbs, "remove", _remove, "remove a key; another one must be left")
    remove.add_argument("fingerprint")
    with_yes(remove)
    with_json(remove)
    with_config(remove)


def fingerprint(key: str) -> str:
    """Distinguishes keys and shows none."""
    return hashlib.sha256(key.encode()).hexdigest()[:_SHOWN]


def _list(arguments: argparse.Namespace) -> int:
    path = config_of(arguments).api.key_file
    rows = [{"fingerprint": fingerprint(key), "characters": len(key)} for key in _keys(_read(path))]
    if arguments.json:
        print_json({"file": str(path), "keys": rows})
        return 0
    print(f"file: {path}")
    if rows:
        print_table(rows, ("fingerprint", "characters"))
    else:
        print("no keys: the daemon makes one at its start")
    print(
        f"To change a key: `waguard keys add`; {RELOAD}; give the application what `waguard keys"
        " show FINGERPRINT` prints; `waguard keys remove FINGERPRINT` for the old one."
    )
    return 0


def _show(arguments: argparse.Namespace) -> int:
    path = config_of(arguments).api.key_file
    keys = {fingerprint(key): key for key in _keys(_read(path))}
    for name in arguments.fingerprint or keys:
        if name not in keys:
            raise _unknown(path, name)
        print(keys[name])
    return 0


def _add(arguments: argparse.Namespace) -> int:
    path = config_of(arguments).api.key_file
    lines, key = _read(path), secrets.token_urlsafe(32)
    _write(path, [*lines, key])
    name = fingerprint(key)
    line = f"key {name} is in {path}; {RELOAD}; `waguard keys show {name}` prints it"
    print_either(arguments, {"file": str(path), "fingerprint": name}, line)
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    path = config_of(arguments).api.key_file
    lines = _read(path)
    left = [
        it for it in lines if not _is_key(it) or fingerprint(it.strip()) != arguments.fingerprint
    ]
    if left == lines:
        raise _unknown(path, arguments.fingerprint)
    if not _keys(left):
        raise ConfigError(
            "it is the last key", field="fingerprint", remedy="make another one: `waguard keys add`"
        )
    require_yes(arguments, f"key {arguments.fingerprint}: clients that use it are refused")
    _write(path, left)
    line = f"key {arguments.fingerprint} is removed from {path}; {RELOAD}"
    print_either(arguments, {"file": str(path), "fingerprint": arguments.fingerprint}, line)
    return 0


def _keys(lines: Sequence[str]) -> list[str]:
    return [line.strip() for line in lines if _is_key(line)]


def _is_key(line: str) -> bool:
    return bool(line.strip()) and not line.strip().startswith(COMMENT)


def _unknown(path: Path, name: str) -> ConfigError:
    return ConfigError(
        f"{path} holds no such key",
        field="fingerprint",
        value=name,
        remedy="see `waguard keys list`",
    )


def _read(path: Path) -> list[str]:
    """The lines of the key file; none where there is no file."""
    try:
        with as_owner_of(path.parent):
            return small_file.read(path, named=True).decode("ascii").splitlines()
    except FileNotFoundError:
        return []
    except UnicodeDecodeError:
        raise _unusable(path, "it is not ASCII text") from None
    except UnreadableError as error:
        raise _unusable(path, str(error)) from None


def _unusable(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"{path} cannot be used: {why}",
        field=_KEY,
        value=str(path),
        remedy="run this as root, or as the daemon's user",
    )


def _write(path: Path, lines: Sequence[str]) -> None:
    """In place of the old content at once, with its mode; what root has in a folder of its own keeps its owner,
    too. Raises ``ConfigError``."""
    with in_place(_KEY, path.parent), in_place(_KEY, path.resolve().parent):
        target = path.resolve()
        found = target.stat() if target.exists() else None
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        fresh = Path(name)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.writelines(f"{line}\n" for line in lines)
                file.flush()
                if found and os.geteuid() == 0:
                    os.fchown(descriptor, found.st_uid, found.st_gid)
                os.fchmod(descriptor, found.st_mode & 0o777 if found else 0o600)
                os.fsync(descriptor)
            fresh.rename(target)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
