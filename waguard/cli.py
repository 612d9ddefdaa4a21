"""argv → exit code.

0 ok · 1 unexpected, or the API said no · 2 configuration or usage · 3 another instance holds the
lock or the database's lease · 4 port in use. Anything heavy is imported inside its command: a refused second instance
must cost a tenth of a second.
"""

import argparse
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waguard import __version__
from waguard.config import Config, Reading, holds_password, require_sandbox
from waguard.errors import ConfigError, PortInUseError, WaguardError, printable
from waguard.host import configuration
from waguard.host.configuration import Found
from waguard.host.systemd import is_journal

if TYPE_CHECKING:
    from waguard.host.lock import InstanceLock

LINK_POLL = 2.0  # s between two looks at a session that is being linked

Command = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; errors are one line, never a traceback."""
    arguments = _parser().parse_args(argv)
    command: Command = arguments.command
    try:
        code = command(arguments)
        sys.stdout.flush()  # a reader that is gone is noticed here, not when the interpreter ends
    except WaguardError as error:
        priority = "<3>" if is_journal(sys.stderr) else ""  # sd-daemon(3): an error
        sys.stderr.write(f"{priority}waguard: {error.line()}\n")
        return error.code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `waguard status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    else:
        return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="waguard",
        description="Keeps WhatsApp Web sessions alive: one daemon per host, one worker per session.",
        epilog="Exit codes: 0 ok, 1 failed, 2 configuration or usage, 3 another instance, 4 port in use.",
    )
    parser.add_argument("--version", action="version", version=f"waguard {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = _command(commands, "run", _run, "run the daemon in the foreground")
    _with_config(run)

    sweep = _command(
        commands, "sweep", _sweep, "end in order what a daemon that is gone left running"
    )
    _with_config(sweep)

    demo = _command(commands, "demo", _demo, "see a session live, on a stand-in of WhatsApp Web")
    demo.add_argument(
        "--once", action="store_true", help="end after the tour; non-zero where a step failed"
    )
    demo.add_argument("--port", type=int, default=0, help="the API's port (any free one)")

    _add_chaos(commands)

    standin = _command(commands, "standin", _standin, "run the stand-in of WhatsApp Web alone")
    standin.add_argument("--port", type=int, default=8443, help="port of the page (%(default)s)")
    standin.add_argument(
        "--phone-port", type=int, default=8480, help="port of its phone (%(default)s)"
    )

    # all that follows is the phone's own: no prefix makes any of it an option of this parser
    phone = _command(
        commands, "phone", _phone, "play the phone of the stand-in", add_help=False, prefix="\0"
    )
    phone.add_argument("arguments", nargs=argparse.REMAINDER, help="see `waguard phone --help`")

    status = _command(commands, "status", _status, "what runs, and how it is")
    status.add_argument("--json", action="store_true", help="for a machine")
    _with_all(status)
    _with_config(status)

    why = _command(
        commands, "why", _why, "what went wrong, with a session or all, and what waguard did"
    )
    which = why.add_mutually_exclusive_group()
    which.add_argument("session", nargs="?", help="without one: what concerned all of them")
    which.add_argument("--fleet", action="store_true", help="the same, said aloud")
    why.add_argument("--json", action="store_true", help="for a machine")
    _with_config(why)

    reconcile = _command(
        commands, "reconcile", _reconcile, "compare database, memory and host, and correct them"
    )
    reconcile.add_argument("--dry-run", action="store_true", help="only show what would be done")
    reconcile.add_argument("--json", action="store_true", help="for a machine")
    _with_config(reconcile)

    _add_config(commands)
    _add_sessions(commands)
    _add_profile(commands)
    _add_webhooks(commands)
    _add_messages(commands)

    qr = _command(
        commands, "qr", _qr, "show a session's QR code in the terminal, until it is scanned"
    )
    qr.add_argument("session")
    qr.add_argument("--once", action="store_true", help="show the code of the moment and end")
    _with_config(qr)

    send = _command(commands, "send", _send, "send a text message")
    send.add_argument("session")
    send.add_argument("recipient", help="phone number in international form, or a chat id")
    send.add_argument("text")
    _with_config(send)
    return parser


def _add_chaos(commands: Any) -> None:
    chaos = _command(
        commands, "chaos", _chaos, "break a waguard of its own in every known way, see it heal"
    )
    chaos.add_argument(
        "--yes-break-things",
        action="store_true",
        help="without it nothing is done: processes are killed and a small disk is mounted",
    )
    chaos.add_argument("--seed", type=int, help="the same seed draws the same faults (any)")
    chaos.add_argument("--faults", type=int, default=50, help="how many (%(default)s)")
    chaos.add_argument("--sessions", type=int, default=4, help="how many (%(default)s)")
    chaos.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="FAULT",
        help="draw from these faults alone; may be said again (all)",
    )
    chaos.add_argument(
        "--messages",
        type=int,
        default=0,
        help="so many come in meanwhile, a quarter as many go out, and all are accounted for by"
        " a double of the application",
    )
    chaos.add_argument(
        "--database", metavar="URL", help="an empty one for --messages (SQLite in its own folder)"
    )
    chaos.add_argument(
        "--quiet",
        type=float,
        default=60.0,
        metavar="S",
        help="seconds of the application's limiter (%(default)s)",
    )
    chaos.add_argument(
        "--hold-limit", type=float, metavar="S", help="webhook.hold_limit for --messages"
    )
    chaos.add_argument(
        "--report", type=Path, metavar="FILE", help="append one line of JSON for this run"
    )


def _add_config(commands: Any) -> None:
    config = commands.add_parser("config", help="the configuration that is found: check, show")
    verbs = config.add_subparsers(required=True, metavar="VERB")
    check = _command(
        verbs, "check", _config_check, "read it as the daemon would, and say what is wrong"
    )
    _with_config(check)
    show = _command(verbs, "show", _config_show, "every key: its value, from where, the default")
    show.add_argument("--json", action="store_true", help="for a machine")
    _with_config(show)


def _add_sessions(commands: Any) -> None:
    sessions = commands.add_parser(
        "sessions", help="create, list, stop, start, log out and delete sessions"
    )
    verbs = sessions.add_subparsers(required=True, metavar="VERB")
    create = _command(verbs, "create", _create, "create a session; then show its QR code")
    create.add_argument("session", help="letters, digits, _ and -; at most 128")
    create.add_argument("--workspace", type=int, default=1, help="(%(default)s)")
    _with_config(create)
    listing = _command(verbs, "list", _list, "all sessions")
    listing.add_argument("--json", action="store_true", help="for a machine")
    _with_all(listing)
    _with_config(listing)
    delete = _command(
        verbs, "delete", _delete, "unlink it and list it no more; its profile is put aside"
    )
    delete.add_argument("session")
    delete.add_argument("--purge", action="store_true", help="also mark its row deleted")
    _with_config(delete)
    for name, command, about in (
        ("logout", _logout, "unlink it; it stays in the list"),
        ("stop", _stop, "take it down; its pairing stays"),
        ("start", _start, "bring it up again, also one that was deleted"),
    ):
        verb = _command(verbs, name, command, about)
        verb.add_argument("session")
        _with_config(verb)


def _add_profile(commands: Any) -> None:
    profile = commands.add_parser(
        "profile", help="look at profiles, copy and restore their credentials"
    )
    verbs = profile.add_subparsers(required=True, metavar="VERB")
    _with_config(_command(verbs, "list", _profile_list, "every profile, how it is, its snapshots"))
    for name, command, about in (
        ("verify", _profile_verify, "read a profile and all its snapshots, with every checksum"),
        ("snapshot", _profile_snapshot, "copy the credentials now, running or not"),
        ("restore", _profile_restore, "put a snapshot in the place of a stopped session's profile"),
        ("quarantine", _profile_quarantine, "move a stopped session's profile aside"),
    ):
        verb = _command(verbs, name, command, about)
        verb.add_argument("session")
        if name == "restore":
            verb.add_argument("--snapshot", metavar="ID", help="the newest intact one by default")
        _with_config(verb)


def _add_webhooks(commands: Any) -> None:
    webhooks = commands.add_parser(
        "webhooks", help="webhooks that nobody took: list, show, deliver again, delete"
    )
    verbs = webhooks.add_subparsers(required=True, metavar="VERB")
    listing = _command(verbs, "list", _dead_list, "the newest dead letters, without their bodies")
    listing.add_argument("--json", action="store_true", help="for a machine")
    listing.add_argument(
        "--state",
        choices=["dead", "uncertain", "unidentified", "undecryptable"],
        help="uncertain: the receiver said yes, and may have dropped it; unidentified: of a LID whose "
        "number is not known; undecryptable: of a message that WhatsApp Web could not decrypt",
    )
    _with_config(listing)
    held = _command(verbs, "held", _held_list, "chats that wait until their session is connected")
    held.add_argument("--json", action="store_true", help="for a machine")
    _with_config(held)
    drop = _command(verbs, "drop", _held_drop, "make dead letters of what waits for a session")
    drop.add_argument("session")
    _with_config(drop)
    show = _command(verbs, "show", _dead_show, "one dead letter, with its body")
    show.add_argument("number", type=int)
    _with_config(show)
    replay = _command(verbs, "replay", _dead_replay, "deliver one once more, or all of them")
    which = replay.add_mutually_exclusive_group(required=True)
    which.add_argument("number", type=int, nargs="?")
    which.add_argument("--all", action="store_true")
    _with_chat(which)
    _with_config(replay)
    discard = _command(verbs, "discard", _dead_discard, "delete a dead letter for good")
    which = discard.add_mutually_exclusive_group(required=True)
    which.add_argument("number", type=int, nargs="?")
    _with_chat(which)
    _with_config(discard)
    unknown = _command(
        verbs, "unidentified", _unidentified_list, "chats of LIDs whose numbers are not known"
    )
    unknown.add_argument("--json", action="store_true", help="for a machine")
    _with_config(unknown)


def _with_chat(which: Any) -> None:
    which.add_argument(
        "--chat",
        nargs=2,
        metavar=("SESSION", "LID"),
        help="all that waits for the number of this LID",
    )


def _add_messages(commands: Any) -> None:
    messages = commands.add_parser("messages", help="what became of messages that were to be sent")
    verbs = messages.add_subparsers(required=True, metavar="VERB")
    listing = _command(verbs, "list", _messages_list, "the newest messages, without their texts")
    listing.add_argument("--session")
    listing.add_argument("--state", help="such as uncertain or accepted")
    listing.add_argument("--json", action="store_true", help="for a machine")
    _with_config(listing)
    for name, command, about in (
        ("show", _messages_show, "one message, without its text"),
        ("cancel", _messages_cancel, "do not send a message that has not begun"),
    ):
        verb = _command(verbs, name, command, about)
        verb.add_argument("id", help="waguard's number, or WhatsApp's id")
        _with_config(verb)


def _command(
    commands: Any,
    name: str,
    command: Command,
    about: str,
    *,
    add_help: bool = True,
    prefix: str = "-",
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=about,
        description=about.capitalize() + ".",
        add_help=add_help,
        prefix_chars=prefix,
    )
    parser.set_defaults(command=command)
    return parser


def _with_all(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="also sessions that were deleted")


def _with_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"TOML; else ${configuration.VARIABLE}, else {configuration.SYSTEM_FILE}, else"
        f" ./{configuration.LOCAL_FILE}, else the defaults",
    )


def _located(arguments: argparse.Namespace) -> tuple[Found, Reading]:
    """The configuration, for what works on files: it lies where earlier versions had it."""
    found, reading = configuration.read(arguments.config, os.environ)
    configuration.require_nothing_left_behind(found, reading)
    return found, reading


def _config(arguments: argparse.Namespace) -> Config:
    return _located(arguments)[1].config


# ---- the daemon and its stand-in ----


def _run(arguments: argparse.Namespace) -> int:
    from waguard.host.listen import base_url, listen  # noqa: PLC0415
    from waguard.host.lock import acquire  # noqa: PLC0415

    os.umask(0o077)
    found, reading = _located(arguments)
    config = reading.config
    require_sandbox(config.browser, root=os.geteuid() == 0)
    _require_private(config, found)
    lock = acquire(config.paths.runtime)
    try:
        listener = listen(config.api.host, config.api.port)
        lock.publish(base_url(listener))

        import asyncio  # noqa: PLC0415 - only the instance that runs pays for it

        return asyncio.run(_serve(reading, lock, listener))
    finally:
        lock.release()


def _require_private(config: Config, found: Found) -> None:
    """Before anything is created: what holds credentials is this user's, or root's."""
    from waguard.host.ownership import require_private  # noqa: PLC0415

    wanted = {
        "paths.runtime": config.paths.runtime,
        "paths.sessions": config.paths.sessions,
        "paths.state": config.paths.state,
        "webhook.secret_file": config.webhook.secret_file,
        found.by or "the configuration": found.path
        if found.path and holds_password(found.path)
        else None,
    }
    for field, private in wanted.items():
        for refusal in require_private(field, private) if private else ():
            sys.stderr.write(
                f"waguard: {field}: {refusal.path} {refusal.why} ({refusal.command})\n"
            )


async def _serve(reading: Reading, lock: "InstanceLock", listener: socket.socket) -> int:
    """Begin the fork server, then the imports: both take a fifth of a second, side by side."""
    from loguru import logger  # noqa: PLC0415

    from waguard.host import early_signals, garbage, logs  # noqa: PLC0415
    from waguard.host.fork_server import ForkSpawn  # noqa: PLC0415

    config = reading.config
    logs.configure(config.log.level, config.log.format)
    spawn = ForkSpawn()
    spawn.start()
    try:
        with garbage.importing():
            from waguard.daemon import Daemon  # noqa: PLC0415

        for line in configuration.hidden_lines(reading):
            logger.warning("{}", line, event="config_hidden")
        return await Daemon(config, lock, listener, reading.path, spawn).run()
    finally:
        await spawn.close()
        early_signals.ignore()
        logs.flush()


def _sweep(arguments: argparse.Namespace) -> int:
    from waguard.host.lock import acquire  # noqa: PLC0415

    paths = _config(arguments).paths
    lock = acquire(paths.runtime)  # a living daemon adopts what it wants, and ends the rest itself
    try:
        import asyncio  # noqa: PLC0415

        from waguard.host.strays import sweep  # noqa: PLC0415

        swept = asyncio.run(
            sweep(records=str(paths.runtime / "workers"), profiles=str(paths.sessions))
        )
    finally:
        lock.release()
    print(f"{len(swept.ended)} processes ended")
    for stranger in swept.foreign:
        print(f"left alone: {stranger}")
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from waguard import demo  # noqa: PLC0415

    return demo.run(once=arguments.once, port=arguments.port)


def _chaos(arguments: argparse.Namespace) -> int:
    if not arguments.yes_break_things:
        raise ConfigError(
            "chaos kills processes and damages files, all of a waguard of its own",
            field="--yes-break-things",
            remedy="say --yes-break-things to have that",
        )
    for name in ("faults", "sessions"):
        if getattr(arguments, name) < 1:
            raise ConfigError("at least 1 is needed", field=f"--{name}")
    if arguments.messages < 0:
        raise ConfigError("0 or more are needed", field="--messages")
    if arguments.quiet <= 0:
        raise ConfigError("more than 0 s are needed", field="--quiet")
    if arguments.database and not arguments.messages:
        raise ConfigError(
            "another database is for a campaign with messages",
            field="--database",
            remedy="say --messages too",
        )
    if arguments.report:
        _try_to_write(arguments.report)

    import secrets  # noqa: PLC0415

    from waguard.chaos import campaign  # noqa: PLC0415

    known = campaign.known(messages=arguments.messages > 0)
    if unknown := [name for name in arguments.only if name not in known]:
        raise ConfigError(
            "there is no such fault",
            field="--only",
            value=unknown[0],
            remedy=f"known: {', '.join(known)}",
        )
    seed = secrets.randbelow(1 << 31) if arguments.seed is None else arguments.seed
    return campaign.run(
        campaign.Plan(
            seed=seed,
            faults=arguments.faults,
            sessions=arguments.sessions,
            only=tuple(arguments.only),
            messages=arguments.messages,
            report=arguments.report,
            database=arguments.database,
            quiet=arguments.quiet,
            hold_limit=arguments.hold_limit,
        )
    )


def _try_to_write(report: Path) -> None:
    """Before the work, not after it."""
    try:
        report.open("a", encoding="utf-8").close()
    except OSError as error:
        raise ConfigError(
            f"{report} cannot be written: {error.strerror}",
            field="--report",
            value=str(report),
            remedy="name a file in a folder that is there",
        ) from None


def _standin(arguments: argparse.Namespace) -> int:
    import asyncio  # noqa: PLC0415

    from waguard.standin import serve  # noqa: PLC0415

    try:
        asyncio.run(serve(arguments.port, arguments.phone_port))
    except OSError as error:
        raise PortInUseError(
            f"the stand-in cannot listen: {error.strerror or error}",
            remedy="name other ports: --port, --phone-port",
        ) from None
    return 0


def _phone(arguments: argparse.Namespace) -> int:
    from waguard.standin.phone_cli import phone_main  # noqa: PLC0415

    return phone_main(arguments.arguments)


# ---- the configuration ----


def _config_check(arguments: argparse.Namespace) -> int:
    from waguard import config_commands  # noqa: PLC0415

    found, reading = _located(arguments)
    config_commands.check(found, reading, print)
    return 0


def _config_show(arguments: argparse.Namespace) -> int:
    from waguard import config_commands  # noqa: PLC0415

    found, reading = configuration.read(arguments.config, os.environ)
    rows = config_commands.rows(reading)
    if arguments.json:
        _print_json({"file": found.path and str(found.path), "keys": rows})
        return 0
    print(f"file: {found.path or 'none'}")
    _print_table(rows, ("key", "value", "source", "default"))
    for line in configuration.hidden_lines(reading):
        print(printable(line))
    return 0


# ---- profiles: files on this host; what changes one is refused while its worker lives ----


def _profile_list(arguments: argparse.Namespace) -> int:
    from waguard import profile_commands  # noqa: PLC0415

    lines = profile_commands.listing(_config(arguments).paths.sessions)
    rows = [
        {
            "session": line.session,
            "workspace": line.workspace,
            "state": line.state,
            "paired": "yes" if line.paired else "no",
            "mb": f"{line.size / 1e6:.1f}",
            "snapshots": len(line.snapshots),
            "why": line.why,
        }
        for line in lines
    ]
    if rows:
        _print_table(rows, tuple(rows[0]))
    else:
        print("no profiles yet")
    return 0


def _profile(arguments: argparse.Namespace) -> Any:
    from waguard import profile_commands  # noqa: PLC0415

    return profile_commands.find(_config(arguments).paths.sessions, arguments.session)


def _profile_verify(arguments: argparse.Namespace) -> int:
    from waguard import profile_commands  # noqa: PLC0415

    verified = profile_commands.verify(_profile(arguments))
    line = verified.line
    print(f"{line.session}: {line.state}{f', {line.why}' if line.why else ''}")
    damaged = dict(verified.damaged)
    for snapshot in line.snapshots:
        print(f"  snapshot {snapshot.id}: {damaged.get(snapshot.id, 'intact')}")
    return 0 if verified.good else 1


def _profile_snapshot(arguments: argparse.Namespace) -> int:
    from waguard import profile_commands  # noqa: PLC0415

    taken = profile_commands.snapshot(_profile(arguments))
    print(f"snapshot {taken.id}: {len(taken.files)} files, {taken.archive_size / 1e3:.0f} kB")
    return 0


def _profile_restore(arguments: argparse.Namespace) -> int:
    from waguard import profile_commands  # noqa: PLC0415

    restored = profile_commands.restore(_profile(arguments), arguments.snapshot)
    print(f"{arguments.session}: snapshot {restored.snapshot} is in place")
    if restored.aside:
        print(f"the old profile lies in {restored.aside}")
    return 0


def _profile_quarantine(arguments: argparse.Namespace) -> int:
    from waguard import profile_commands  # noqa: PLC0415

    aside = profile_commands.quarantine(_profile(arguments))
    print(f"{arguments.session}: its profile lies in {aside}; it begins anew, by QR code")
    return 0


# ---- a client of the running daemon ----


def _client(arguments: argparse.Namespace) -> Any:
    from waguard.client import ApiCallError, ApiClient  # noqa: PLC0415

    # a daemon that answers has settled where its files lie; where none does, they may be elsewhere
    found, reading = configuration.read(arguments.config, os.environ)
    try:
        return ApiClient.of(reading.config)
    except ApiCallError:
        configuration.require_nothing_left_behind(found, reading)
        raise


def _print_json(value: Any) -> None:
    import json  # noqa: PLC0415

    print(json.dumps(value, indent=2))


def _print_table(rows: list[dict[str, Any]], columns: Sequence[str]) -> None:
    texts = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *texts, strict=True)]
    for line in [[column.upper() for column in columns], *texts]:
        print(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        )


def _cell(value: Any) -> str:
    return "-" if value is None else printable(str(value))


def _status(arguments: argparse.Namespace) -> int:
    client = _client(arguments)
    health = client.call("GET", "/health/detailed")
    listed = client.call("GET", _sessions(arguments))["sessions"]
    sessions = [client.call("GET", client.session(row["session_id"], "/status")) for row in listed]
    if arguments.json:
        _print_json({"health": health, "sessions": sessions})
        return 0
    counts = health["sessions"]
    print(
        f"waguard at {client.base}: {health['status']}, {counts['connected']} of {counts['total']} connected"
    )
    for problem in health.get("problems", []):
        print(f"  ! {printable(problem)}")
    for line in filter(None, map(_undecryptable, sessions)):
        print(f"  {line}")
    if sessions:
        _print_table(
            sessions,
            (
                "session_id",
                "status",
                "phone_number",
                "lifecycle",
                "link",
                "restarts",
                "cpu_percent",
                "memory_mb",
                "worker_pid",
                "disconnect_reason",
                "waiting",
                *_removed(arguments),
            ),
        )
    return 0


def _undecryptable(session: dict[str, Any]) -> str | None:
    """How many messages its WhatsApp Web cannot decrypt yet; None: no message, or an older daemon."""
    told = session.get("undecryptable") or {"count": 0}
    if not (count := told["count"]):
        return None
    what = f"{count} message{'' if count == 1 else 's'}"
    text = (
        f"{session['session_id']}: {what} cannot be decrypted yet, the oldest since {told['since']}"
    )
    return printable(text)


def _why(arguments: argparse.Namespace) -> int:
    client, session = _client(arguments), arguments.session
    told = client.call(
        "GET", client.session(session, "/incidents") if session else "/api/incidents"
    )
    if arguments.json:
        _print_json(told)
        return 0
    if session:
        print(f"{told['session_id']} is {told['status']}")
        status = client.call("GET", client.session(session, "/status"))
        if line := _undecryptable(status):
            print(line)
        for condition in status.get("conditions", []):
            print(printable(f"{condition['message']}. {condition['remedy']}"))
    if not told["incidents"]:
        print(f"nothing has gone wrong with {'it' if session else 'all sessions at once'}")
    for incident in told["incidents"]:
        print(f"\n{incident['began']}")
        for sentence in incident["sentences"]:
            print(f"  {printable(sentence)}")
    return 0


def _reconcile(arguments: argparse.Namespace) -> int:
    told = _client(arguments).call("GET" if arguments.dry_run else "POST", "/api/reconcile")
    if arguments.json:
        _print_json(told)
        return 0
    if told["corrections"]:
        _print_table(told["corrections"], ("session", "action", "before", "after", "reason"))
    else:
        print("database, memory and host agree")
    for finding in told.get("findings", []):
        print(printable(f"  ! {finding['session']}: {finding['about']}"))
    return 0


def _list(arguments: argparse.Namespace) -> int:
    listed = _client(arguments).call("GET", _sessions(arguments))
    if arguments.json:
        _print_json(listed)
    elif listed["sessions"]:
        _print_table(
            listed["sessions"],
            (
                *("session_id", "workspace_id", "status", "phone_number", "connected_at"),
                *_removed(arguments),
            ),
        )
    else:
        print("no sessions: create one with `waguard sessions create NAME`")
    return 0


def _sessions(arguments: argparse.Namespace) -> str:
    return "/api/sessions?removed=1" if arguments.all else "/api/sessions"


def _removed(arguments: argparse.Namespace) -> tuple[str, ...]:
    return ("removed_at",) if arguments.all else ()


def _create(arguments: argparse.Namespace) -> int:
    client = _client(arguments)
    body = {"session_id": arguments.session, "workspace_id": arguments.workspace}
    answer = client.call("POST", "/api/sessions", body)
    print(f"{answer['session_id']}: {answer['status']}; next: waguard qr {answer['session_id']}")
    return 0


def _delete(arguments: argparse.Namespace) -> int:
    client = _client(arguments)
    client.call("DELETE", client.session(arguments.session, "?purge=1" if arguments.purge else ""))
    print(f"{arguments.session}: deleted; its profile lies in the quarantine folder")
    return 0


def _logout(arguments: argparse.Namespace) -> int:
    client = _client(arguments)
    client.call("POST", client.session(arguments.session, "/logout"), {})
    print(f"{arguments.session}: logged out")
    return 0


def _stop(arguments: argparse.Namespace) -> int:
    client = _client(arguments)
    client.call("POST", client.session(arguments.session, "/stop"), {})
    print(f"{arguments.session}: stopped; its pairing stays")
    return 0


def _start(arguments: argparse.Namespace) -> int:
    client = _client(arguments)
    told = client.call("POST", client.session(arguments.session, "/start"), {})
    print(f"{arguments.session}: {told['status']}")
    return 0


def _send(arguments: argparse.Namespace) -> int:
    client = _client(arguments)
    body = {
        "session_id": arguments.session,
        "recipient_phone": arguments.recipient,
        "message": arguments.text,
        "type": "text",
    }
    answer = client.call("POST", "/api/messages/send", body, timeout=90.0)
    if answer.get("success"):
        print(f"sent: {answer['message_id']}")
        return 0
    print(
        f"uncertain: WhatsApp did not answer; do not send it again blindly ({answer.get('message_id')})"
    )
    return 1


_DEAD = "/api/webhooks/dead"
_HELD = "/api/webhooks/held"
_UNIDENTIFIED = "/api/webhooks/unidentified"


def _dead_list(arguments: argparse.Namespace) -> int:
    state = f"?state={arguments.state}" if arguments.state else ""
    told = _client(arguments).call("GET", f"{_DEAD}{state}")
    if arguments.json:
        _print_json(told)
    elif told["dead"]:
        columns = ("id", "session_id", "event", "state", "endpoint", "attempts", "died_at", "error")
        _print_table(told["dead"], columns)
        if told["before"]:
            print(f"there are more: GET {_DEAD}?before={told['before']}{state.replace('?', '&')}")
    else:
        print("no dead letters")
    return 0


def _held_list(arguments: argparse.Namespace) -> int:
    told = _client(arguments).call("GET", f"{_HELD}")
    if arguments.json:
        _print_json(told)
    elif told["held"]:
        _print_table(told["held"], ("session_id", "chat_id", "since", "reason"))
    else:
        print("no webhook waits for its session")
    return 0


def _held_drop(arguments: argparse.Namespace) -> int:
    body = {"session_id": arguments.session}
    told = _client(arguments).call("POST", f"{_HELD}/discard", body)
    print(f"dead letters now: {told['discarded']}; see waguard webhooks list")
    return 0


def _dead_show(arguments: argparse.Namespace) -> int:
    _print_json(_client(arguments).call("GET", f"{_DEAD}/{arguments.number}"))
    return 0


def _unidentified_list(arguments: argparse.Namespace) -> int:
    told = _client(arguments).call("GET", _UNIDENTIFIED)
    if arguments.json:
        _print_json(told)
    elif told["unidentified"]:
        _print_table(told["unidentified"], ("session_id", "chat_id", "since", "count"))
    else:
        print("no chat waits for somebody's number")
    return 0


def _of_chat(arguments: argparse.Namespace, verb: str) -> Any:
    session, chat = arguments.chat
    body = {"session_id": session, "chat_id": chat}
    return _client(arguments).call("POST", f"{_UNIDENTIFIED}/{verb}", body)


def _dead_replay(arguments: argparse.Namespace) -> int:
    if arguments.chat:
        print(f"queued again: {_of_chat(arguments, 'replay')['replayed']}")
        return 0
    one = "" if arguments.all else f"/{arguments.number}"
    told = _client(arguments).call("POST", f"{_DEAD}{one}/replay")
    print(f"queued again: {told['replayed']}")
    return 0


def _dead_discard(arguments: argparse.Namespace) -> int:
    if arguments.chat:
        deleted = _of_chat(arguments, "discard")["discarded"]
        print(f"webhooks of {arguments.chat[1]} are deleted: {deleted}")
        return 0
    _client(arguments).call("DELETE", f"{_DEAD}/{arguments.number}")
    print(f"dead letter {arguments.number} is deleted")
    return 0


def _messages_list(arguments: argparse.Namespace) -> int:
    from waguard import messages_commands  # noqa: PLC0415

    client, asked = _client(arguments), {"session": arguments.session, "state": arguments.state}
    told = messages_commands.listing(client.call, **asked)
    if arguments.json:
        _print_json(told)
    elif told["messages"]:
        _print_table(told["messages"], messages_commands.COLUMNS)
    else:
        print("no messages")
    return 0


def _messages_show(arguments: argparse.Namespace) -> int:
    from waguard import messages_commands  # noqa: PLC0415

    _print_json(messages_commands.show(_client(arguments).call, arguments.id))
    return 0


def _messages_cancel(arguments: argparse.Namespace) -> int:
    from waguard import messages_commands  # noqa: PLC0415

    print(messages_commands.cancel(_client(arguments).call, arguments.id))
    return 0


def _qr(arguments: argparse.Namespace) -> int:
    from waguard.client import ApiCallError  # noqa: PLC0415
    from waguard.wire import qr  # noqa: PLC0415

    client = _client(arguments)
    shown = said = ""
    while True:
        try:
            code = client.call("GET", client.session(arguments.session, "/qr?wait=20"))
        except ApiCallError as error:
            if error.answered == 425:  # noqa: PLR2004 - Too Early: not yet there
                continue
            if arguments.once or not (shown or "passkey_required" in str(error)):
                raise
            told = client.call("GET", client.session(arguments.session, "/status"))
            if shown and told["status"] == "connected":
                print(f"{arguments.session}: scanned")
                return 0
            if not (waits := _waits_for(told)):
                raise
            kind = waits.split(" (")[0]  # the seconds that are left are no news
            if kind != said:
                print(f"{arguments.session}: {waits}")
            said = kind
            time.sleep(LINK_POLL)
            continue
        if code["raw"] != shown:
            shown = code["raw"]
            print(qr.terminal(shown))
            print(
                f"WhatsApp on the phone: Linked devices → Link a device. Valid for {code['expires_in']} s."
            )
        if arguments.once:
            return 0
        # the next look is due when this code is about to change, or was scanned
        time.sleep(min(2.0, max(0.5, code["expires_in"])))


def _waits_for(status: dict[str, Any]) -> str | None:
    """Why there is no code and will be none for now; None: nobody came in time."""
    for condition in status.get("conditions", []):
        if condition["type"] == "passkey_required":
            left = "" if condition["expires_in"] is None else f" ({condition['expires_in']} s left)"
            return f"{condition['message']}{left}. {condition['remedy']}"
    return "scanned; it is being linked" if status["status"] == "authenticated" else None


if __name__ == "__main__":
    sys.exit(main())
