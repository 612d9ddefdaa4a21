"""Who the browser says it is: the installed Chromium, without the word Headless.

WhatsApp Web answers a headless user agent with its page for unsupported browsers. The string goes in
as a switch too, because only that reaches service workers; client hints go in by page.
"""

import platform
import re
from typing import Any

from msgspec import Struct

# How Chromium itself makes the brand that is no brand (components/embedder_support/user_agent_utils.cc):
# sites must not rely on the list, so its name, version and place change with the major version.
GREASE = (" ", "(", ":", "-", ".", "/", ")", ";", "=", "?", "_")
GREASE_VERSIONS = ("8", "99", "24")

ARCHITECTURES = {"x86_64": ("x86", "64"), "aarch64": ("arm", "64"), "i686": ("x86", "32")}


class UserAgent(Struct, frozen=True):
    """The string, and the parameters of ``Emulation.setUserAgentOverride`` that go with it."""

    text: str
    override: dict[str, Any]


def user_agent(version: str, *, machine: str | None = None) -> UserAgent:
    """For a full version such as ``156.0.8078.79``; equal to what desktop Chromium shows.

    Raises ``ValueError`` for what is no version.
    """
    if not re.fullmatch(r"\d+(\.\d+){3}", version):
        raise ValueError(f"not a version of Chromium: {version!r}")
    major = int(version.split(".", 1)[0])
    architecture, bitness = ARCHITECTURES.get(machine or platform.machine(), ("", ""))
    # the string is frozen: it says x86_64 on every Linux
    text = (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
        f"Chrome/{major}.0.0.0 Safari/537.36"
    )
    metadata = {
        "brands": _brands(major, str(major)),
        "fullVersionList": _brands(major, version),
        "fullVersion": version,
        "platform": "Linux",
        "platformVersion": "",
        "architecture": architecture,
        "bitness": bitness,
        "model": "",
        "mobile": False,
        "wow64": False,
        "formFactors": ["Desktop"],
    }
    return UserAgent(text, {"userAgent": text, "userAgentMetadata": metadata})


def _brands(major: int, version: str) -> list[dict[str, str]]:
    name = f"Not{GREASE[major % len(GREASE)]}A{GREASE[(major + 1) % len(GREASE)]}Brand"
    grease = GREASE_VERSIONS[major % len(GREASE_VERSIONS)]
    if "." in version:
        grease += ".0.0.0"
    pair = [{"brand": name, "version": grease}, {"brand": "Chromium", "version": version}]
    return pair if major % 2 == 0 else pair[::-1]
