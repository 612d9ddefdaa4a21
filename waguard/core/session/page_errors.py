"""What an exception of the page means: broken code of the page, or a refusal by WhatsApp or wa-js. Pure.

A function that WhatsApp renamed is a TypeError wherever it is called. What wa-js and WhatsApp refuse on purpose is
an error of another kind.
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
"""The errors of ``fetch`` when the network fails."""


def own_fault(text: str) -> str | None:
    """The first line of an exception of broken code, as JavaScript shows it; None: it is something else."""
    found = None if _NETWORK.match(text) else _BROKEN.match(text)
    return found[0][:LONGEST] if found else None
