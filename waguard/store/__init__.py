"""The database: one row per session that the application shares, and what waguard keeps for itself.

``whatsapp_accounts`` may belong to the application: it is read as it is found and never altered.
``waguard_sessions`` holds what it cannot say (the desired state, the generation) and stands in for
columns that an older one lacks. Every write locks the session's row first, in one transaction.

Of SQLAlchemy only the Core is used. Its asyncio package imports its ORM, too, which costs the daemon
6 MB: modules that refuse stand in the places of the two that need it.
"""

import sys
from types import ModuleType
from typing import Any


def _refuse(*_: Any, **__: Any) -> None:
    raise RuntimeError("waguard uses SQLAlchemy without its ORM")


def _unused(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return _refuse


for _name in ("scoping", "session"):
    _stub = ModuleType(f"sqlalchemy.ext.asyncio.{_name}")
    vars(_stub)["__getattr__"] = _unused  # whatever is imported of it
    sys.modules.setdefault(_stub.__name__, _stub)
