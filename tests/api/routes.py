"""docs/routes.md: each route, from the OpenAPI document.

``python -m tests.api.routes`` writes it; a test compares.
"""

from pathlib import Path
from typing import Any, Final

from waguard.api import create_app
from waguard.api.openapi import document

TARGET: Final = Path(__file__).parents[2] / "docs/routes.md"
ERRORS: Final = {"400", "401", "403", "404", "405", "413", "415", "500", "503", "507"}
SHARED: Final = {
    "Session": "the [session](#objects)",
    "Sent": "[as all sends](api.md#sends)",
    **dict.fromkeys(("Accepted", "SendUncertain"), ""),
}
SENDS: Final = {"idempotency_key", "async", "queue", "send_at", "workspace_id"}
OPTIONS: Final = "[options](messages.md#options-of-a-send)"
OBJECTS: Final = (
    *("Session", "LoadedVersion", "Condition", "Incident", "TimelineEntry", "Change", "Host"),
    *("Waiting", "KnownKey", "Version", "Bundle", "Contact", "Chat", "Group", "WholeGroup"),
    *("Member", "Participant", "Checked", "Message", "DeadLetter"),
)
HEAD: Final = """# Routes
<!-- written by python -m tests.api.routes -->
What each route takes and answers, as `/api/openapi.json` has it; `/docs` has the fields' types, with `make run` their meanings, too.
[api.md](api.md) has what they do not say, [rights.md](rights.md) which key may call them. `?` before a name: of the
query; behind it: may be left out. [Errors](api.md#errors) that many routes have are left out.
"""


def text() -> str:
    """The whole document."""
    deps: Any = None  # nothing is asked
    described = document(create_app(deps))
    groups: dict[str, list[str]] = {}
    for path, operations in described["paths"].items():
        for method, it in operations.items():
            cells = [f"`{method.upper()} {path}`", it["summary"] + "."]
            cells += [_takes(it, described), _replies(it, described)]
            groups.setdefault(it["tags"][0], []).append(f"| {' | '.join(cells)} |")
    heads = "\n| route | does | takes | replies |\n|---|---|---|---|\n"
    tables = [
        f"\n## {tag.replace('_', ' ')}{heads}" + "\n".join(rows) + "\n"
        for tag, rows in groups.items()
    ]
    known = described["components"]["schemas"]
    objects = [f"| {name} | {_fields(known[name])} |\n" for name in OBJECTS]
    return HEAD + "".join([*tables, "\n## objects\n| object | fields |\n|---|---|\n", *objects])


def _takes(it: dict[str, Any], described: dict[str, Any]) -> str:
    query = [f"`?{one['name']}`" for one in it.get("parameters", ()) if one["in"] == "query"]
    [(_, schema), *_] = [*_schemas(it.get("requestBody", {}), described), ("", {})]
    needed, names = schema.get("required", ()), [*schema.get("properties", ())]
    if set(names) >= SENDS:
        query, names = [], [name for name in names if name not in SENDS]
    body = [f"`{name}`" + "?" * (name not in needed) for name in names]
    return ", ".join(
        [*query, *body, *([OPTIONS] if set(schema.get("properties", ())) >= SENDS else [])]
    )


def _replies(it: dict[str, Any], described: dict[str, Any]) -> str:
    found = []
    for status, reply in it["responses"].items():
        if status in ERRORS:
            continue
        said = [SHARED.get(name, _fields(one)) for name, one in _schemas(reply, described)]
        said += [kind for kind in reply.get("content", ()) if kind != "application/json"]
        words = " or ".join(dict.fromkeys(filter(None, said)))
        found.append(f"{status} {words * status.startswith('2')}".strip())
    return "; ".join(found)


def _fields(schema: dict[str, Any]) -> str:
    return ", ".join(f"`{name}`" for name in schema.get("properties", ()) if name != "success")


def _schemas(it: dict[str, Any], described: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Those of a body in JSON, by name."""
    schema = it.get("content", {}).get("application/json", {}).get("schema", {})
    names = [
        one["$ref"].rpartition("/")[2] for one in schema.get("anyOf", [schema]) if "$ref" in one
    ]
    return [(name, described["components"]["schemas"][name]) for name in names]


if __name__ == "__main__":
    TARGET.write_text(text())
