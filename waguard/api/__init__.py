"""The HTTP side of waguard."""

from waguard.api.app import create_app, serve
from waguard.api.deps import ApiDeps
from waguard.api.local_socket import LocalApi

__all__ = ["ApiDeps", "LocalApi", "create_app", "serve"]
