"""``waguard passkey``: sign with a passkey, in a Chrome on this desk, what WhatsApp asks for a linking."""

import argparse
import asyncio
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from waguard.cli import client
from waguard.cli.client import ApiCallError, ApiClient, SessionClient
from waguard.cli.context import Desk
from waguard.cli.parsing import with_daemon
from waguard.cli.polling import polled
from waguard.config.addresses import is_address, is_loopback
from waguard.errors import ConfigError, printable
from waguard.host import small_file
from waguard.host.small_file import UnreadableError

_STEPS: Final = {
    "answered": "the passkey was accepted here; keep WhatsApp open on the phone, it goes on there",
    "confirm": "WhatsApp Web shows a code; compare it with the one on the phone",
}
_LINK, _SCAN_AGAIN = "passkey_required", "qr_pending"
_ON_THE_WAY: Final = frozenset({"qr_scanning", "authenticated"})


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("session")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--confirm", metavar="CODE", help="confirm the code that the phone shows, nothing else"
    )
    what.add_argument(
        "--cancel", action="store_true", help="refuse WhatsApp's request, nothing else"
    )
    parser.add_argument(
        "--daemon", metavar="URL", help="the API of a daemon elsewhere; else the one of this host"
    )
    parser.add_argument(
        "--key-file", type=Path, metavar="FILE", help="with --daemon: a key of its API"
    )
    parser.add_argument(
        "--chrome", metavar="FILE", help="the Chrome or Chromium to open; else an installed one"
    )
    with_daemon(parser)
    parser.set_defaults(command=_passkey)


def _passkey(arguments: argparse.Namespace) -> int:
    session = _client(arguments).one(arguments.session)
    if arguments.cancel:
        session.call("DELETE", "/passkey")
        print(f"{session.name}: the request is refused; it can be started again")
        return 0
    if arguments.confirm:
        session.call("POST", "/passkey/confirm", {"code": arguments.confirm})
    elif _needs_signature(session):
        asyncio.run(_sign(session, arguments))
    _follow(session, arguments.context.link_poll)
    return 0


def _needs_signature(session: SessionClient) -> bool:
    """Whether nobody has signed yet. Raises ``ApiCallError`` where WhatsApp asks for no passkey."""
    stage = session.call("GET", "/passkey")["stage"]
    if stage is None:
        raise ApiCallError(
            f"WhatsApp does not ask for a passkey of session {session.name} now",
            answered=200,
            remedy=f"it does after a scan, where at all: waguard qr {session.name}",
        )
    return stage not in _STEPS


async def _sign(session: SessionClient, arguments: argparse.Namespace) -> None:
    """Start, sign, answer. Who closes the window may try again; who refuses on the card refuses."""
    from waguard.cli import passkey_desk  # noqa: PLC0415 - heavy, and not needed to refuse or confirm

    desk: Desk = arguments.context.desk
    # before anything is started: a Chrome that is missing costs nothing
    async with passkey_desk.window(arguments.chrome, desk) as window:
        request = await asyncio.to_thread(session.call, "POST", "/passkey/start", {})
        print(f"{session.name}: a window of Chrome asks for the passkey", flush=True)
        try:
            assertion = await window.ask(
                request["options"],
                origin=arguments.daemon or f"waguard on {socket.gethostname()}",
                session=session.name,
                within=min(request["expires_in"], session.client.left),
            )
        except passkey_desk.DeclinedToSignError:
            one = {"request": request["request"]}  # by now another one may be held
            await asyncio.to_thread(session.call, "DELETE", "/passkey", one)
            raise
        answer = {"request": request["request"], "assertion": assertion}
        await asyncio.to_thread(session.call, "POST", "/passkey/answer", answer)


def _follow(session: SessionClient, poll: float) -> None:
    """Say what goes on until the session is linked. Raises ``ApiCallError`` where it will not be."""
    said = ""
    while (now := _asked(session, "/status", poll))["status"] in _ON_THE_WAY:
        stage, code = _stage(session, now, poll)
        if stage == "failed" or now["link"] == _SCAN_AGAIN:
            break
        if stage in _STEPS and stage != said:
            print(f"{session.name}: {_STEPS[stage]}", flush=True)
            said = stage
            if stage == "confirm" and _is_equal(session, code):
                session.call("POST", "/passkey/confirm", {"code": code})
        time.sleep(poll)
    if now["status"] != "connected":
        why = now.get("disconnect_details") or now.get("disconnect_reason") or "it was not linked"
        raise ApiCallError(
            f"the session is {now['status']}: {why}",
            answered=200,
            remedy=f"see `waguard sessions show {session.name}`",
        )
    print(f"{session.name}: linked")


def _asked(session: SessionClient, rest: str, poll: float) -> Any:
    return polled(session.client, lambda: session.call("GET", rest), poll)


def _stage(session: SessionClient, status: dict[str, Any], poll: float) -> tuple[str, str]:
    """The passkey's stage and its code; empty where it is over."""
    if status["link"] != _LINK:
        return "", ""
    found = _asked(session, "/passkey", poll)
    return found["stage"] or "", found["code"] or ""


def _is_equal(session: SessionClient, code: str) -> bool:
    """What only a person can see. Without a terminal nobody is asked, and nothing is confirmed."""
    print(f"\n    {printable(code)}\n", flush=True)
    if not (sys.stdin and sys.stdin.isatty()):
        print(
            f"Where the phone shows the same: waguard passkey {session.name} --confirm {printable(code)}",
            flush=True,
        )
        return False
    sys.stderr.write("Does the phone show the same code? Type yes where it does: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _client(arguments: argparse.Namespace) -> ApiClient:
    if arguments.daemon is None:
        if arguments.key_file:
            raise ConfigError("it goes with --daemon", field="--key-file")
        return client.connect(arguments)
    url = arguments.daemon
    if not is_address(url):
        raise ConfigError(
            "it is not an address", field="--daemon", remedy="use https://host[:port]"
        )
    parts = urlsplit(url)
    if parts.path not in {"", "/"} or parts.query or "@" in parts.netloc:
        raise ConfigError(
            "it is more than an origin", field="--daemon", remedy="use https://host[:port]"
        )
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ConfigError(
            "the key would be readable on the way",
            field="--daemon",
            remedy="use https, or a tunnel: ssh -L 3001:127.0.0.1:3001 HOST, then http://127.0.0.1:3001",
        )
    return client.elsewhere(url, _key(arguments.key_file), arguments)


def _key(path: Path | None) -> str:
    if path is None:
        raise ConfigError(
            "a daemon elsewhere needs a key", field="--key-file", remedy="name its file"
        )
    try:
        lines = small_file.read(path, named=True).decode().splitlines()
    except (OSError, UnreadableError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", field="--key-file") from None
    keys = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    if not keys:
        raise ConfigError(f"{path} holds no key", field="--key-file")
    return keys[0]
