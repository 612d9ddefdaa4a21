"""docs/events.md lists every event of the log, and nothing else."""

import ast
import functools
import re
from collections import defaultdict
from pathlib import Path
from typing import Final, TypeGuard, get_args

from waguard.core.incidents.kinds import DIED, FLEET_ENDS, SESSION_ENDS
from waguard.core.page_care import Kind
from waguard.core.passkey import Entry
from waguard.core.versions.words import ENTRIES
from waguard.supervision.session.status_publisher import LEVELS, UNLOGGED
from waguard.supervision.versions.decision import Noted

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = ROOT / "waguard"
# the stand-in, chaos and the demo are not the product's log
LEFT_OUT: Final = ("standin", "application", "chaos")
CALLS: Final = {
    "info": "INFO",
    "warning": "WARNING",
    "error": "ERROR",
    "exception": "ERROR",
    "critical": "CRITICAL",
    "log": "",
}
NAMES: Final = {"INFO", "WARNING", "ERROR", "CRITICAL"}
# they are the line's own
RESERVED: Final = {"at", "level", "message", "exception", "traceback", "repeated"}

Levels = dict[str, set[str]]


LOGS: Final = re.compile(r"\b_?log(ger)?\b")
Call = tuple[ast.Call, str, ast.AST]


class Calls(ast.NodeVisitor):
    """Log calls of one file, with the function that each is in; ``unnamed``: lines that take a log method for a
    call elsewhere, whose event nobody would find."""

    def __init__(self) -> None:
        self.found: list[Call] = []
        self.unnamed: list[int] = []
        self._function: ast.AST = ast.Module([], [])

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        outer, self._function = self._function, node
        self.generic_visit(node)
        self._function = outer

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - the base's names

    def visit_Call(self, node: ast.Call) -> None:
        func = node.func
        if not is_method(func):
            self.generic_visit(node)
            return
        for part in (func.value, *node.args, *node.keywords):
            self.visit(part)
        if func.attr in CALLS:
            self.found.append((node, func.attr, self._function))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        if is_method(node):
            self.unnamed.append(node.lineno)


def is_method(node: ast.AST) -> TypeGuard[ast.Attribute]:
    """Whether it is one of a log's that writes a line."""
    return (
        isinstance(node, ast.Attribute)
        and node.attr in {*CALLS, "debug"}
        and bool(LOGS.search(ast.unparse(node.value)))
    )


@functools.cache
def files() -> tuple[tuple[str, ast.Module, list[Call]], ...]:
    """Those that log, with their log calls."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name, text = path.relative_to(PACKAGE), path.read_text()
        if name.parts[0].removesuffix(".py") not in LEFT_OUT and LOGS.search(text):
            calls = Calls()
            calls.visit(module := ast.parse(text))
            assert not calls.unnamed, f"{name}:{calls.unnamed}: call the log's method by its name"
            found.append((str(name), module, calls.found))
    return tuple(found)


def event_of(call: ast.Call, constants: dict[str, str]) -> str | None:
    """None: it has none. What is read at run time is returned as its expression, in brackets."""
    given = [call, *(n for n in ast.walk(call.func) if isinstance(n, ast.Call))]
    for keyword in (k for one in given for k in one.keywords):
        if keyword.arg == "event":
            value = keyword.value
            if isinstance(value, ast.Constant):
                return str(value.value)
            return constants.get(ast.unparse(value), f"[{ast.unparse(value)}]")
    return None


def constants_of(module: ast.Module) -> dict[str, str]:
    pairs = [
        (node.targets[0], node.value)
        for node in module.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    ]
    return {ast.unparse(name): str(value.value) for name, value in pairs}


def levels_of(method: str, function: ast.AST) -> set[str]:
    if CALLS[method]:
        return {CALLS[method]}
    nodes = list(ast.walk(function))
    words = {node.value for node in nodes if isinstance(node, ast.Constant)}
    attributes = (ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute))
    if any(name.endswith("outages.level") for name in attributes):
        words |= {"DEBUG", "ERROR"}  # see ``OutageLevels``
    return {word for word in words if isinstance(word, str)} & NAMES


def recorded() -> set[str]:
    """Kinds of entries that are put on a session's trail, by the core but for those of passkeys."""
    kinds = set()
    for path in (PACKAGE / "core").rglob("*.py"):
        if "Record(" not in (text := path.read_text()):
            continue
        for node in ast.walk(ast.parse(text)):
            match node:
                case ast.Call(func=ast.Name(id="Record"), args=[ast.Constant(value=kind), *_]):
                    kinds.add(str(kind))
                case _:
                    pass
    return (
        kinds | set(map(str, Entry)) | {f"{kind}{over}" for kind in Kind for over in ("", "_over")}
    )


def read_at_run_time() -> dict[str, Levels]:
    """By file: events that are no literals there."""
    fleet = {kind: end for kind, end in FLEET_ENDS.items() if kind != DIED}
    breaker, closed = "fleet_breaker_opened", fleet.pop("fleet_breaker_opened")
    return {
        "supervision/session/status_publisher.py": {
            kind: {LEVELS.get(kind, "WARNING")} for kind in recorded() - UNLOGGED
        },
        "supervision/outages.py": {
            **{kind: {"ERROR"} for kind in fleet},
            **{kind: {"WARNING"} for kind in fleet.values()},
        },
        "supervision/fleet/health.py": {
            **{kind: {"ERROR"} for kind in SESSION_ENDS},
            **{kind: {"WARNING"} for kind in SESSION_ENDS.values()},
        },
        "supervision/versions/decision.py": {
            **{kind: {"WARNING"} for kind in (*ENTRIES.values(), *get_args(Noted))},
            **{kind: {"WARNING", "ERROR"} for kind in ("version_too_old", "version_spent")},
            "version_held_long": {"ERROR"},
        },
        "supervision/fleet_effects.py": {breaker: {"ERROR"}, closed: {"WARNING"}},
        "supervision/session/intake.py": {
            "profile_mended": {"WARNING"},
            "profile_tidied": {"INFO"},
        },
        # loguru has them from the libraries' own
        "host/system/logs.py": {
            "library": {"WARNING", "ERROR", "CRITICAL"},
            "log_lines_lost": {"WARNING"},
        },
    }


def logged() -> Levels:
    found: Levels = defaultdict(set)
    dynamic = read_at_run_time()
    for name, module, calls in files():
        constants = constants_of(module)
        for call, method, function in calls:
            event = event_of(call, constants)
            assert event, f"{name}:{call.lineno} has no event="
            if event.startswith("[") or name == "host/system/logs.py":
                assert name in dynamic, f"{name}:{call.lineno}: {event} is no literal"
                continue
            levels = levels_of(method, function)
            assert levels, f"{name}:{call.lineno} has no level"
            found[event] |= levels
    for events in dynamic.values():
        for event, levels in events.items():
            found[event] |= levels
    return found


def documented() -> Levels:
    rows = re.findall(
        r"(?m)^\| `([a-z_]+)` \| ([A-Z, ]+) \| (.+) \| (.+) \|$",
        (ROOT / "docs/events.md").read_text(),
    )
    assert len({event for event, *_ in rows}) == len(rows), "an event is listed twice"
    return {event: set(levels.split(", ")) for event, levels, *_ in rows}


def test_every_event_is_documented_with_its_levels_and_each_that_is_documented_is_logged() -> None:
    assert documented() == dict(logged())


def test_every_row_of_the_tables_is_read() -> None:
    rows = re.findall(r"(?m)^\| `", (ROOT / "docs/events.md").read_text())
    assert len(rows) == len(documented()) > 100


def test_no_field_hides_a_part_of_the_line() -> None:
    for name, _, calls in files():
        for call, *_ in calls:
            fields = {keyword.arg for keyword in call.keywords}
            assert not fields & RESERVED, f"{name}:{call.lineno}: {fields & RESERVED}"


def test_a_call_without_an_event_is_found() -> None:
    calls = Calls()
    calls.visit(ast.parse("async def f(self):\n self._log.bind(session=1).error('x', why=2)"))
    [(call, method, _)] = calls.found
    assert (event_of(call, {}), method) == (None, "error")


def test_a_log_method_that_is_called_by_another_name_is_found() -> None:
    calls = Calls()
    calls.visit(ast.parse("log = logger.error if first else logger.debug\nlog('x', why=2)"))
    assert (calls.found, calls.unnamed) == ([], [1, 1])
