"""Makes the extension for the origins of one operator: ``make extension ORIGINS="https://waguard.example.org"``.

Stdlib only. What is made is loaded unpacked; nothing of it comes from elsewhere.
"""

import argparse
import hashlib
import ipaddress
import json
import re
import shutil
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

HERE: Final = Path(__file__).parent
CARD: Final = HERE.parent / "waguard/cli/passkey_card.js"
TARGET: Final = HERE.parent / "dist/extension"
PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_LETTERS: Final = str.maketrans("0123456789abcdef", "abcdefghijklmnop")


def pattern(origin: str) -> str:
    """Chrome's match pattern of exactly this origin. Raises ``ValueError`` where it is not to be listed."""
    try:
        parts = urlsplit(origin)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(f"{origin}: {error}") from None
    if parts.scheme not in PORTS or not host:
        raise ValueError(f"{origin}: write it as https://host or https://host:port")
    if parts.path not in {"", "/"} or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"{origin}: an origin has no path, query or user")
    if "*" in parts.netloc:
        raise ValueError(f"{origin}: a wildcard would let pages of others ask; name each origin")
    if not (_HOST.fullmatch(host) or ":" in host):
        raise ValueError(f"{origin}: {host} is not the name of a host")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ValueError(
            f"{origin}: anybody on the way could ask in its name; use https, or an SSH tunnel to 127.0.0.1"
        )
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}:{port or PORTS[parts.scheme]}/*"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def manifest(origins: list[str]) -> dict[str, Any]:
    """The manifest with these origins. Raises ``ValueError``."""
    if not origins:
        raise ValueError(
            'no origin is named: ORIGINS="https://host", as the status page\'s address begins'
        )
    made: dict[str, Any] = json.loads((HERE / "manifest.json").read_text())
    made["externally_connectable"] = {"matches": list(dict.fromkeys(map(pattern, origins)))}
    return made


def extension_id(made: dict[str, Any]) -> str:
    """The id that Chrome derives from the manifest's key."""
    return hashlib.sha256(b64decode(made["key"])).hexdigest()[:32].translate(_LETTERS)


def build(origins: list[str], target: Path) -> str:
    """Write the extension's three files into a folder; its id. Raises ``ValueError``."""
    made = manifest(origins)
    target.mkdir(parents=True, exist_ok=True)
    (target / "manifest.json").write_text(json.dumps(made, indent=2) + "\n")
    shutil.copyfile(HERE / "worker.js", target / "worker.js")
    shutil.copyfile(CARD, target / "card.js")
    return extension_id(made)


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description="Makes waguard's extension for your origins.")
    parser.add_argument(
        "origins", nargs="*", help="as the address of the status page begins: https://host"
    )
    parser.add_argument("--target", type=Path, default=TARGET, help="folder (%(default)s)")
    arguments = parser.parse_args()
    try:
        made = build(arguments.origins, arguments.target)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    print(
        f"{arguments.target}: {made}\nchrome://extensions → Developer mode → Load unpacked → this folder"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
