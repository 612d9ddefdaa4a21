"""``waguard keys``: those of the file that the daemon reads at its start and at a reload, and those that it issues.

Only the daemon makes and revokes issued keys: it is the one writer of their file, and ends a key at once.
"""

import argparse
import contextlib
import fcntl
import hashlib
import os
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from waguard.cli import output
from waguard.cli.client import connect
from waguard.cli.confirmation import require_yes, with_yes
from waguard.cli.context import Context, config_of, in_place
from waguard.cli.parsing import duration, verb, verbs_of, with_config, with_daemon, with_json
from waguard.cli.render import print_either, print_json, print_table, second
from waguard.core.issued_keys import IssuedKey
from waguard.core.keys import Right
from waguard.errors import ConfigError, printable
from waguard.host import small_file
from waguard.host.files.acting import as_owner_of
from waguard.host.memory import key_memory
from waguard.host.small_file import UnreadableError

COMMENT: Final = "#"
RELOAD: Final = "the daemon reads it at `systemctl reload waguard` (SIGHUP)"
_KEY: Final = "api.key_file"
_TRIES: Final = 100
_PAUSE: Final = 0.1  # s
_SHOWN: Final = 8  # hexadecimal digits of a fingerprint
_ISSUED: Final = "/api/keys"
_DATABASE: Final = "the database"  # where a reply names the hosts that do not know of a revocation
_COLUMNS: Final = ("id", "name", "right", "scope", "expires", "used", "status")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the noun's verbs."""
    verbs = verbs_of(parser)
    listing = verb(verbs, "list", _list, "where the keys are, and which; none is shown")
    with_json(listing)
    with_config(listing)
    show = verb(verbs, "show", _show, "print keys of api.key_file")
    show.add_argument("fingerprint", nargs="*", help="only these (all)")
    with_config(show)
    new = verb(verbs, "add", _add, "make a new key of api.key_file beside the others")
    with_json(new)
    with_config(new)
    remove = verb(
        verbs, "remove", _remove, "remove a key of api.key_file; another one must be left"
    )
    remove.add_argument("fingerprint")
    with_yes(remove)
    with_json(remove)
    with_config(remove)
    create = verb(
        verbs, "create", _create, "have a key issued that may do less; it is printed once"
    )
    create.add_argument("name", metavar="NAME", help="whose it is: the audit log has it")
    create.add_argument(
        "--right", choices=[*Right], required=True, help="each includes those before"
    )
    create.add_argument(
        "--workspace",
        type=int,
        action="append",
        metavar="N",
        help="only its sessions; may be repeated (all)",
    )
    create.add_argument(
        "--session", action="append", metavar="SESSION", help="only this one; may be repeated (all)"
    )
    create.add_argument(
        "--expires", type=duration, metavar="D", help="after 30m, 12h, 90d (it does not)"
    )
    with_json(create)
    with_daemon(create)
    revoke = verb(verbs, "revoke", _revoke, "end an issued key at once, with its event streams")
    revoke.add_argument("key", metavar="KEY", help="its id or its name, never the key itself")
    with_yes(revoke)
    with_json(revoke)
    with_daemon(revoke)


def fingerprint(key: str) -> str:
    """Distinguishes keys and shows none."""
    return hashlib.sha256(key.encode()).hexdigest()[:_SHOWN]


def _list(arguments: argparse.Namespace) -> int:
    config = config_of(arguments)
    path, issued = config.api.key_file, config.paths.state / key_memory.FILE
    rows = [{"fingerprint": fingerprint(key), "characters": len(key)} for key in _keys(_read(path))]
    known, why = _known(issued)
    if arguments.json:
        shown = None if known is None else [_as_json(it) for it in known]
        print_json({"file": str(path), "keys": rows, "issued_file": str(issued), "issued": shown})
        return 0
    print(f"file: {path}")
    if rows:
        print_table(rows, ("fingerprint", "characters"))
    elif why_away := _why_away(path.parent):
        print(f"unknown: {why_away}")
    else:
        print("no keys: the daemon makes one at its start")
    print(
        f"To change a key: `waguard keys add`; {RELOAD}; give the application what `waguard keys"
        " show FINGERPRINT` prints; `waguard keys remove FINGERPRINT` for the old one."
    )
    print(f"issued: {issued}")
    if known is None:
        print(f"unknown: {why}")
    elif known:
        print_table([_row(it, time.time()) for it in known], _COLUMNS)
    else:
        print("no keys: `waguard keys create NAME --right read` makes one that may do less")
    return 0


def _known(path: Path) -> tuple[Sequence[IssuedKey] | None, str]:
    """Issued keys, the newest first, as the daemon wrote them a minute ago or later; None: unknown, and why."""
    try:
        with as_owner_of(path.parent):
            found = key_memory.read(path)
    except UnreadableError as error:
        return None, str(error)
    if not found and (why := _why_away(path.parent)):
        return None, why
    return sorted(found, key=lambda it: it.created_at, reverse=True), ""


def _why_away(folder: Path) -> str | None:
    """Why nobody knows whether there is a file in it; None: there is such a folder."""
    with as_owner_of(folder):
        there = folder.is_dir()
    return (
        None if there else f"{folder} is not there: mount its disk, or start waguard a first time"
    )


def _as_json(key: IssuedKey) -> dict[str, Any]:
    times = {"expires_at", "created_at", "used_at", "ended_at"}
    shown = {**msgspec.to_builtins(key)}
    del shown["sha256"]
    return {name: _time(it) if name in times else it for name, it in shown.items()}


def _row(key: IssuedKey, now: float) -> dict[str, Any]:
    scope = [f"workspace {it}" for it in key.workspaces or ()] + list(key.sessions or ())
    status = "valid" if key.expires_at is None or now < key.expires_at else "expired"
    if key.ended_at is not None:
        status = f"revoked by {key.ended_by}" if key.ended_by else "expired"
    return {
        "id": key.id,
        "name": key.name,
        "right": key.right,
        "scope": ", ".join(scope) or "all",
        "expires": _time(key.expires_at),
        "used": _time(key.used_at),
        "status": status,
    }


def _time(at: float | None) -> str | None:
    return None if at is None else second(round(at))


def _create(arguments: argparse.Namespace) -> int:
    wanted = {
        "name": arguments.name,
        "right": arguments.right,
        "workspaces": arguments.workspace,
        "sessions": arguments.session,
        "expires_in": arguments.expires,
    }
    given = {name: it for name, it in wanted.items() if it is not None}
    answer = connect(arguments).call("POST", _ISSUED, given)
    print_either(arguments, answer, answer["key"])
    if not arguments.json:
        about = answer["about"]
        until = f"until {about['expires_at']}" if about["expires_at"] else "without an end"
        said = f"key {about['id']} ({about['name']}) has the right {about['right']}, {until}; it is never shown again"
        output.say(f"{printable(said)}\n")
    return 0


def _revoke(arguments: argparse.Namespace) -> int:
    client = connect(arguments)
    listed: list[Mapping[str, Any]] = client.call("GET", _ISSUED)["keys"]
    by_id = [it for it in listed if it["id"] == arguments.key]
    by_name = [it for it in listed if it["name"] == arguments.key and it["ended_at"] is None]
    if not (found := by_id or by_name):
        # it is not shown: it may be a key
        raise ConfigError(
            "there is no such issued key", field="key", remedy="see `waguard keys list`"
        )
    name = f"key {found[0]['id']} ({found[0]['name']})"
    require_yes(arguments, f"{name}: clients that use it are refused at once")
    answer = client.call("DELETE", f"{_ISSUED}/{found[0]['id']}")
    lines = [f"{name} is revoked"]
    if made := [f"{it['id']} ({it['name']})" for it in answer["made"]]:
        lines.append(f"keys that it has made stay valid: {', '.join(made)}")
    not_yet = answer.get("not_yet", [])  # a daemon of before has none
    if hosts := [it for it in not_yet if it != _DATABASE]:
        lines.append(f"valid on {', '.join(hosts)} until 2 s after they reach the database")
    if _DATABASE in not_yet:
        lines.append("the database does not answer: it is written there when it does")
    print_either(arguments, answer, *lines)
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
    key = secrets.token_urlsafe(32)
    with _alone(path, arguments.context):
        _write(path, [*_read(path), key])
    name = fingerprint(key)
    line = f"key {name} is in {path}; {RELOAD}; `waguard keys show {name}` prints it"
    print_either(arguments, {"file": str(path), "fingerprint": name}, line)
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    path = config_of(arguments).api.key_file
    _without(path, arguments.fingerprint)
    require_yes(arguments, f"key {arguments.fingerprint}: clients that use it are refused")
    with _alone(path, arguments.context):
        _write(path, _without(path, arguments.fingerprint))
    line = f"key {arguments.fingerprint} is removed from {path}; {RELOAD}"
    print_either(arguments, {"file": str(path), "fingerprint": arguments.fingerprint}, line)
    return 0


def _without(path: Path, name: str) -> list[str]:
    """The other lines of the file. Raises ``ConfigError`` where it has no such key, or no other one."""
    lines = _read(path)
    left = [it for it in lines if not _is_key(it) or fingerprint(it.strip()) != name]
    if left == lines:
        raise _unknown(path, name)
    if not _keys(left):
        raise ConfigError(
            "it is the last key", field="fingerprint", remedy="make another one: `waguard keys add`"
        )
    return left


@contextlib.contextmanager
def _alone(path: Path, context: Context) -> Iterator[None]:
    """Another command that changes the file waits meanwhile. Raises ``ConfigError``, also where that one does not end."""
    with contextlib.ExitStack() as stack:
        with in_place(_KEY, path.parent):
            folder = os.open(path.resolve().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, folder)
            _lock(folder, path, min(_PAUSE, context.link_poll))
        yield


def _lock(folder: int, path: Path, pause: float) -> None:
    """``pause``: s between two tries."""
    for _ in range(_TRIES):
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(pause)
        except OSError:  # a file system without locks
            return
        else:
            return
    raise ConfigError(
        "another command changes it",
        field=_KEY,
        value=str(path),
        remedy="try again when that one has ended",
    )


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
