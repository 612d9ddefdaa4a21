"""``waguard wajs``: the bundles of wa-js, the script that waguard injects into WhatsApp's page."""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from waguard.cli.client import connect
from waguard.cli.confirmation import require_yes, with_yes
from waguard.cli.context import config_of, in_place
from waguard.cli.parsing import verb, verbs_of, with_config, with_daemon, with_json
from waguard.cli.render import print_either, print_json, print_table
from waguard.cli.versions import called
from waguard.errors import ConfigError
from waguard.host import small_file
from waguard.host.memory import npm
from waguard.host.memory.wajs_store import LARGEST, WajsStore
from waguard.host.small_file import UnreadableError

_PATH: Final = "/api/wajs"
_NPM: Final = "npm:"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the noun's verbs."""
    verbs = verbs_of(parser)
    listing = verb(verbs, "list", _list, "the bundles that can be used, and who has them")
    with_json(listing)
    with_daemon(listing)
    new = verb(verbs, "add", _add, "keep a bundle; no session gets it by that")
    new.add_argument(
        "source", metavar="FILE|npm:VERSION", help="npm:VERSION has npm fetch exactly this version"
    )
    new.add_argument(
        "--sha256", required=True, metavar="HEX", help="of the bundle, from who published it"
    )
    with_json(new)
    with_config(new)
    trying = verb(verbs, "try", _try, "load one session with a bundle and check it")
    trying.add_argument("sha256", metavar="SHA256", help="its first 6 digits are enough")
    trying.add_argument("--session", metavar="S", help="(one that waguard chooses)")
    use = verb(verbs, "use", _use, "use a bundle for all sessions, after two canaries")
    use.add_argument("sha256", metavar="SHA256", help="its first 6 digits are enough")
    for one in (trying, use):
        with_yes(one)
        with_json(one)
        with_daemon(one)


def _list(arguments: argparse.Namespace) -> int:
    answer = connect(arguments).call("GET", _PATH)
    if arguments.json:
        print_json(answer)
        return 0
    if answer["configured"]:
        print(f"whatsapp.wajs names {answer['configured']}, which all sessions get")
    rows = [_row(it) for it in answer["bundles"]]
    print_table(rows, ("sha256", "version", "state", "sessions"))
    return 0


def _row(it: Mapping[str, Any]) -> dict[str, Any]:
    words = {
        "in use": it["in_use"],
        "canaries get it": it["candidate"],
        f"rolled back {it['rolled_back_at']}": it["rolled_back_at"],
        "packed": it["packed"],
    }
    state = ", ".join(word for word, is_so in words.items() if is_so) or "added"
    return {**it, "state": state, "sessions": len(it["sessions"])}


def _add(arguments: argparse.Namespace) -> int:
    sha256 = arguments.sha256.lower()
    if not _DIGEST.fullmatch(sha256):
        raise ConfigError(
            "it is not a SHA-256 digest",
            field="--sha256",
            value=sha256,
            remedy="64 digits, 0-9 and a-f",
        )
    state = config_of(arguments).paths.state
    store, content = WajsStore(state), _content(arguments.source)
    with in_place("paths.state", state):
        kept = store.add(content, sha256)
    answer = {"sha256": kept.sha256, "version": kept.version, "size": kept.size}
    print_either(
        arguments,
        {**answer, "file": str(store.path(sha256))},
        f"wa-js {kept.version} is kept in {store.path(sha256)}; to try it with one session: `waguard wajs"
        f" try {kept.sha256[:12]}`; for all: `waguard wajs use {kept.sha256[:12]}`",
    )
    return 0


def _content(source: str) -> bytes:
    if source.startswith(_NPM):
        return npm.wajs(source.removeprefix(_NPM), limit=LARGEST)
    path = Path(source)
    try:
        return small_file.read(path, limit=LARGEST, named=True)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist", field="FILE") from None
    except UnreadableError as error:
        raise ConfigError(f"{path} cannot be used: {error}", field="FILE") from None


def _try(arguments: argparse.Namespace) -> int:
    who = f"session {arguments.session}" if arguments.session else "a session"
    require_yes(arguments, f"{who} is loaded again, with wa-js {arguments.sha256[:12]}")
    body = {"sha256": arguments.sha256, "session_id": arguments.session}
    answer = called(connect(arguments), f"{_PATH}/try", body, arguments.session)
    line = f"{who} is loaded with it as soon as it may; see `waguard wajs list`"
    print_either(arguments, answer, line)
    return 0


def _use(arguments: argparse.Namespace) -> int:
    what = f"two sessions are loaded again with wa-js {arguments.sha256[:12]}; where they are healthy, all get it"
    require_yes(arguments, what)
    answer = connect(arguments).call("POST", f"{_PATH}/use", {"sha256": arguments.sha256})
    print_either(arguments, answer, "canaries get it, then all; see `waguard wajs list`")
    return 0
