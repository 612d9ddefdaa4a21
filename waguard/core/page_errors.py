"""What a page threw: code of its own that is broken, or a no of WhatsApp or wa-js. Pure.

A renamed function of WhatsApp's is a TypeError wherever it is called; what wa-js and WhatsApp refuse on
purpose has an error of another kind.
"""

import re
from typing import Final

LONGEST: Final = 200  # characters
_BROKEN: Final = re.compile(
    r"(?:TypeError|ReferenceError|ModuleError): .*|Error: Requiring unknown module.*"
)
_NETWORK: Final = re.compile(
    r"TypeError: (?:Failed to fetch|network error|Load failed)", re.IGNORECASE
)
"""How ``fetch`` says that nothing came."""


def own_fault(text: str) -> str | None:
    """The first line of an exception of broken code, as JavaScript shows it; None: it is none."""
    found = None if _NETWORK.match(text) else _BROKEN.match(text)
    return found[0][:LONGEST] if found else None
