"""The callback to which decisions pass their effects."""

from collections.abc import Callable

from waguard.core.session.effects import Effect

Out = Callable[[Effect], None]
