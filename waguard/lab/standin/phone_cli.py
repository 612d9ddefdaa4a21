"""`waguard phone …`: the person with the phone, as a command. A client of the stand-in's phone side, nothing more."""

import argparse
import base64
import json
import mimetypes
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, get_args

from waguard.core.text.file_name import suffixes
from waguard.lab.standin.versions import Way

DEFAULT_PORT = 8443
DEFAULT_PHONE_PORT = 8480
DEFAULT_URL = f"http://127.0.0.1:{DEFAULT_PHONE_PORT}"
TIMEOUT = 30.0  # s; a file on its way is the longest there is
NOTICES = {  # commands without arguments
    "conflict": "another client takes the stream",
    "ghost": "cut the connection so that the page does not notice",
    "reload": "have the page reload itself",
    "spin": "have the page's script never end",
    "modal": "cover the page with a dialog",
}
ACKS = {"delivered": 2, "read": 3, "played": 4, "2": 2, "3": 3, "4": 4}


class PhoneError(Exception):
    """One line that says what is wrong and what to do."""


def phone_main(argv: Sequence[str]) -> int:
    """Run one command; 0 done, 1 refused or unreachable (one line on stderr), 2 wrong usage."""
    try:
        args = _parser().parse_args(argv)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    try:
        answer = _carry_out(args)
    except PhoneError as error:
        sys.stderr.write(f"waguard phone: {error}\n")
        return 1
    sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _add_happenings(command: Callable[[str, str], argparse.ArgumentParser]) -> None:
    edit = command("edit", "give a message to the account another text")
    edit.add_argument("id")
    edit.add_argument("body")
    command("revoke", "delete a message to the account for everybody").add_argument("id")
    react = command("react", "react to a message")
    react.add_argument("id")
    react.add_argument("text", nargs="?", help='an emoji (default: 👍), "" to take it back')
    react.add_argument("--from", help="who reacts (default: the other one in the chat)")
    vote = command("vote", "vote in a poll")
    vote.add_argument("id")
    vote.add_argument(
        "options", nargs="*", type=int, help="ids of the options; none takes the vote back"
    )
    vote.add_argument("--from", help="who votes (default: the other one in the chat)")
    call = command("call", "call the account")
    call.add_argument("from", metavar="FROM", help="number or id of who calls")
    call.add_argument("--video", action="store_true")
    call.add_argument("--group", action="store_true", help="a group's call")


def _add_recipients(command: Callable[[str, str], argparse.ArgumentParser]) -> None:
    receipt = command("receipt", "the recipient got, read or played a message")
    receipt.add_argument("id")
    receipt.add_argument("ack", choices=list(ACKS))
    receipt.add_argument("--reader", help="which member of a group")
    migrate = command("migrate", "give the account's chat with a number a LID")
    migrate.add_argument("number")
    migrate.add_argument("lid", help="its digits")
    group = command("group", "say who is in a group of the account")
    group.add_argument("id", help="…@g.us")
    group.add_argument("participants", nargs="*", help="numbers, or …@lid")
    command("reveal", "let the account's browsers know whose LID it is").add_argument("number")


def _add_ciphertexts(
    command: Callable[[str, str], argparse.ArgumentParser], incoming: argparse.ArgumentParser
) -> None:
    incoming.add_argument(
        "--sealed",
        choices=["e2e", "fanout", "view_once_unavailable_fanout"],
        help="the browsers cannot decrypt it; as WhatsApp Web says why",
    )
    decrypt = command("decrypt", "let the browsers read a message that came sealed")
    decrypt.add_argument("id")
    decrypt.add_argument(
        "--way",
        choices=["event", "silent", "stored", "again"],
        help="in its place with an event (default) or without; seen when the page is reloaded; as a "
        "new message with the same id then",
    )


def _add_passkey(command: Callable[[str, str], argparse.ArgumentParser]) -> None:
    passkey = command("passkey", "sign a request with the account's passkey")
    passkey.add_argument("options", help="those of the request as JSON, - to read them from stdin")
    passkey.add_argument("--origin", help="sign them for another site")


def _add_timelock(command: Callable[[str, str], argparse.ArgumentParser]) -> None:
    lock = command("timelock", "refuse first contacts of the account")
    lock.add_argument("--way", choices=["refuse", "drop"], help="drop: without any answer")
    lock.add_argument("--seconds", type=float, help="its browsers get this end")
    lock.add_argument("--undated", action="store_true", help="they get the lock without an end")
    lock.add_argument("--over", action="store_true", help="first contacts are taken again")


def _add_versions(command: Callable[[str, str], argparse.ArgumentParser]) -> None:
    ways = [way for way in get_args(Way) if way]
    publish = command("publish", "serve a new build of WhatsApp Web from now on")
    publish.add_argument("revision", nargs="?", type=int, help="its number (default: the next one)")
    publish.add_argument("--way", choices=ways, help="how it is broken (default: it is not)")
    publish.add_argument(
        "--served-to", action="append", metavar="NUMBER", help="this account alone"
    )
    broken = command("break", "break a build that is out; without a way: it works again")
    broken.add_argument("revision", type=int)
    broken.add_argument("way", nargs="?", choices=ways)
    for one in (publish, broken):
        one.add_argument(
            "--broken-for", action="append", metavar="NUMBER", help="for this account alone"
        )
    command("expire", "take a build's scripts off the CDN").add_argument("revision", type=int)
    command("refuse", "refuse all builds before this one as too old").add_argument(
        "revision", type=int
    )


def _add_views(command: Callable[[str, str], argparse.ArgumentParser]) -> None:
    policy = command("policy", "show the policies, or change some")
    policy.add_argument("changes", nargs="*", metavar="NAME=VALUE")
    command("state", "accounts, their browsers, queues")
    command("messages", "every message that the server saw")
    command("versions", "all builds; the one that is served comes last")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="waguard phone", description=__doc__)
    common = _Parser(add_help=False)
    common.add_argument(
        "--standin",
        metavar="URL",
        default=os.environ.get("WAGUARD_STANDIN", DEFAULT_URL),
        help="address of the phone side (default: %(default)s, or $WAGUARD_STANDIN)",
    )
    common.add_argument("--phone", metavar="NUMBER", help="whose phone (default: 6281180001)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[common])

    command("scan", "scan a QR code").add_argument("code", help="its text, - to read it from stdin")
    command("pair", "enter a pairing code").add_argument("code", help="the 8 characters")
    incoming = command("incoming", "write to the account")
    incoming.add_argument("sender", metavar="FROM", help="number or id of who writes")
    incoming.add_argument("body", nargs="?", default="")
    incoming.add_argument("--name", help="the sender's name")
    incoming.add_argument("--type", help="message type (default: chat, or by the file)")
    incoming.add_argument("--file", type=Path, help="send this file")
    incoming.add_argument("--mimetype", help="the file's type (default: by its name)")
    incoming.add_argument("--chat", help="the group that it is written in")
    incoming.add_argument("--timestamp", type=int, help="Unix time (default: now)")
    write = command("write", "write to somebody on the phone itself")
    write.add_argument("to", metavar="TO", help="number or id of who gets it")
    write.add_argument("body", nargs="?", default="")
    write.add_argument("--file", type=Path, help="send this file")
    write.add_argument("--mimetype", help="the file's type (default: by its name)")
    write.add_argument("--timestamp", type=int, help="Unix time (default: now)")
    _add_recipients(command)
    _add_ciphertexts(command, incoming)
    _add_happenings(command)
    unlink = command("unlink", "log all browsers of the account out")
    unlink.add_argument("--reason", choices=["unknown_companion", "account_locked"])
    command("drop", "cut the connection").add_argument(
        "--seconds", type=float, help="refuse new ones for this long"
    )
    update = command("needs-update", "announce a newer version to the page")
    update.add_argument("--over", action="store_true", help="there is none any more")
    for name, text in NOTICES.items():
        command(name, text)
    _add_passkey(command)
    _add_timelock(command)
    block = command("block", "turn the account's browsers away, NONE to end it")
    block.add_argument(
        "kind",
        nargs="?",
        choices=["TOS_BLOCK", "SMB_TOS_BLOCK", "PROXYBLOCK", "DEPRECATED_VERSION", "NONE"],
    )
    _add_versions(command)
    _add_views(command)
    return parser


def _carry_out(args: argparse.Namespace) -> Any:
    url, phone = args.standin.rstrip("/"), args.phone
    match args.command:
        case "state":
            return _ask("GET", f"{url}/state")
        case "messages":
            query = f"?{urllib.parse.urlencode({'phone': phone})}" if phone else ""
            return _ask("GET", f"{url}/messages{query}")
        case "versions":
            return _ask("GET", f"{url}/versions")
        case "policy" if args.changes:
            return _ask("PUT", f"{url}/policy", dict(map(_change, args.changes)))
        case "policy":
            return _ask("GET", f"{url}/policy")
        case "pair" if not phone:
            raise PhoneError("whose phone? add --phone NUMBER")
        case command:
            return _ask("POST", f"{url}/{command}", _body(args))


def _body(args: argparse.Namespace) -> dict[str, Any]:
    given = {
        k: v for k, v in vars(args).items() if k not in ("standin", "command", "file", "mimetype")
    }
    if args.command == "scan" and args.code == "-":
        given["code"] = sys.stdin.read().strip()
    if args.command == "passkey":
        given["options"] = _json(sys.stdin.read() if args.options == "-" else args.options)
    if args.command == "incoming":
        given["from"] = given.pop("sender")
        if args.chat:
            given |= {"author": given["from"]}
    if args.command in ("incoming", "write") and args.file:
        given["media"] = _file(args.file, args.mimetype)
    if args.command == "receipt":
        given["ack"] = ACKS[args.ack]
    return {k: v for k, v in given.items() if v is not None}


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise PhoneError("the options are not JSON: pass what the request has") from None


def _file(path: Path, mimetype: str | None) -> dict[str, str]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PhoneError(f"cannot read {path}: {error.strerror}") from None
    guessed = mimetype or mimetypes.guess_type(suffixes(path.name))[0] or "application/octet-stream"
    return {
        "mimetype": guessed,
        "filename": path.name,
        "base64": base64.b64encode(data).decode(),
    }


def _change(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise PhoneError(f"{text!r}: write NAME=VALUE, as ack_delay=2")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _ask(method: str, url: str, body: dict[str, Any] | None = None) -> Any:
    if not url.startswith(("http://", "https://")):
        raise PhoneError(f"{url!r} is no address: write --standin http://127.0.0.1:PORT")
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - http checked above
    # never through a proxy: the stand-in is on loopback
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise PhoneError(_explain(error)) from None
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise PhoneError(
            f"no stand-in at {url}: {reason} (start one: waguard standin; or pass --standin URL)"
        ) from None


def _explain(error: urllib.error.HTTPError) -> str:
    with error:
        try:
            answer = json.load(error)
            named = f"{answer['field']}: " if answer.get("field") else ""
            return f"{named}{answer['error']}; {answer['remedy']}"
        except (ValueError, KeyError, TypeError):
            return f"{error.code} {error.reason}"
