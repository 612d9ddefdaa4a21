"""The worker process: one session, one profile, one Chromium, one page.

Of pyppeteer only the objects are used, over a pipe of our own. Its launcher (which blocks the event
loop, takes the signal handlers and opens a TCP port), its downloader and its websocket must never
run; importing them costs each worker 4 MB and 40 ms. So modules that refuse stand in their places
before anything imports pyppeteer.
"""

import sys
from types import ModuleType
from typing import Any, Final

_UNUSED: Final = {
    "pyppeteer.launcher": ("Launcher", "connect", "defaultArgs", "executablePath", "launch"),
    "pyppeteer.chromium_downloader": (
        "check_chromium",
        "chromium_executable",
        "current_platform",
        "download_chromium",
    ),
    "websockets": (),
    "websockets.legacy": (),
    "websockets.legacy.client": ("connect",),
}


def _refuse(*_: Any, **__: Any) -> None:
    raise RuntimeError("waguard launches Chromium itself and talks to it over a pipe")


for _name, _members in _UNUSED.items():
    _stub = ModuleType(_name)
    for _member in _members:
        setattr(_stub, _member, _refuse)
    sys.modules.setdefault(_name, _stub)
