"""The HTTP side of waguard."""

from waguard.api.app import create_app, serve
from waguard.api.deps import ApiDeps

__all__ = ["ApiDeps", "create_app", "serve"]
