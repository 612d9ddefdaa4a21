"""Which lines of the decision ran: what no run has met proves nothing."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Final

from waguard.core.versions import arms as version_arms
from waguard.core.versions import canaries as version_schedules
from waguard.core.versions import cure as version_cure
from waguard.core.versions import good as version_good
from waguard.core.versions import operator_wishes as version_wishes
from waguard.core.versions import pages as version_pages
from waguard.core.versions import policy as versions
from waguard.core.versions import rollback as version_rollback
from waguard.core.versions import trial_evaluation as version_results
from waguard.core.versions import trials as version_trials
from waguard.core.versions import usable as version_usable
from waguard.core.versions import wave as version_wave

MODULES: Final[tuple[ModuleType, ...]] = (
    version_arms,
    version_cure,
    version_wishes,
    version_usable,
    version_good,
    version_pages,
    version_rollback,
    version_schedules,
    version_trials,
    version_results,
    version_wave,
    versions,
)
Line = tuple[str, int]
_TOOL: Final = 3  # coverage has 1


@contextmanager
def watched() -> Iterator[set[Line]]:
    """The lines that have not run yet. Each is reported once, so this costs next to nothing."""
    monitoring = sys.monitoring
    codes = [code for module in MODULES for code in _codes(module)]
    left = {(_name(code), line) for code in codes for line in _lines(code)}

    def ran(code: CodeType, line: int) -> object:
        left.discard((_name(code), line))
        return monitoring.DISABLE

    monitoring.use_tool_id(_TOOL, "versions")
    monitoring.register_callback(_TOOL, monitoring.events.LINE, ran)
    for code in codes:
        monitoring.set_local_events(_TOOL, code, monitoring.events.LINE)
    try:
        yield left
    finally:
        for code in codes:
            monitoring.set_local_events(_TOOL, code, 0)
        monitoring.free_tool_id(_TOOL)


def _name(code: CodeType) -> str:
    return Path(code.co_filename).name


def _codes(module: ModuleType) -> Iterator[CodeType]:
    own = [
        it
        for it in vars(module).values()
        if isinstance(it, FunctionType) and it.__module__ == module.__name__
    ]
    todo = [it.__code__ for it in own]
    while todo:
        code = todo.pop()
        yield code
        todo += [it for it in code.co_consts if isinstance(it, CodeType)]


def _lines(code: CodeType) -> Iterator[int]:
    return (line for *_, line in code.co_lines() if line and line != code.co_firstlineno)
