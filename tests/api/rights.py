"""The table of docs/rights.md: what each route asks of a key.

``python -m tests.api.rights`` writes it; a test compares, and another one tries each cell.
"""

from pathlib import Path
from typing import Any, Final, NamedTuple

from waguard.api import create_app
from waguard.api.rights import Narrowing
from waguard.api.route import route_of
from waguard.core.keys import Right

TARGET: Final = Path(__file__).parents[2] / "docs/rights.md"
MARK: Final = "<!-- written by python -m tests.api.rights -->\n"
YES, NO, NOTHING = "yes", "403", "404"
LEFT_OUT, NOTHING_OF_THEM = "left out", "none"
_NARROWED: Final = {
    Narrowing.SESSION: (YES, NOTHING),
    Narrowing.OWN: (YES, NOTHING),
    Narrowing.LIST: (YES, LEFT_OUT),
    Narrowing.WORKSPACE: (YES, NO),
    Narrowing.LIMITED: (YES, NO),
    Narrowing.ITSELF: (YES, NOTHING_OF_THEM),
    Narrowing.REFUSED: (NO, NO),
    Narrowing.HOSTS: (NO, NO),
}


class Rule(NamedTuple):
    """What one route asks of a key."""

    method: str
    path: str
    right: Right
    narrows: Narrowing

    @property
    def own(self) -> str:
        """What a key for some sessions gets that is theirs."""
        return _NARROWED[self.narrows][0]

    @property
    def other(self) -> str:
        """What it gets of others."""
        return _NARROWED[self.narrows][1]

    def row(self) -> str:
        """The line of the table."""
        known = self.narrows is not Narrowing.HOSTS
        rights = [YES if known and it.includes(self.right) else NO for it in Right]
        return f"| `{self.method} {self.path}` | {' | '.join([*rights, self.own, self.other])} |\n"


def rules() -> list[Rule]:
    """Those of all routes that need a key, in the router's order."""
    deps: Any = None  # nothing is asked
    return [
        Rule(it.method, it.resource.canonical, found.right, found.narrows)
        for it in create_app(deps).router.routes()
        if it.method != "HEAD" and it.resource and (found := route_of(it.handler)) and found.right
    ]


def table() -> str:
    """The whole, with its head."""
    head = ["route", *Right, "of its sessions", "of others"]
    lines = [f"| {' | '.join(head)} |\n", f"|{'---|' * len(head)}\n"]
    return "".join([MARK, *lines, *(it.row() for it in rules())])


if __name__ == "__main__":
    text = TARGET.read_text()
    TARGET.write_text(text[: text.index(MARK)] + table())
