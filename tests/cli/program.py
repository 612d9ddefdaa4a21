"""The command line as tests run it: in this process, with no file of this machine's behind it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from waguard.cli import main as program
from waguard.cli.context import Context, Desk
from waguard.core.replace import replace

NOWHERE: Final = Path("/nowhere")
CONTEXT: Final = Context(system_file=NOWHERE / "waguard.toml", root=NOWHERE, link_poll=0.0)


def main(argv: Sequence[str], *, root: Path = NOWHERE, desk: Desk | None = None) -> int:
    """Its exit code. ``root``: where it finds systemd's folders."""
    return program(argv, replace(CONTEXT, root=root, desk=desk or CONTEXT.desk))
