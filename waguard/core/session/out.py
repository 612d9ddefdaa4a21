"""What a decision gives: its effects one by one, and the state in the end."""

from collections.abc import Callable
from typing import NamedTuple

from waguard.core.session.effects import Effect
from waguard.core.session.state import SessionState

Out = Callable[[Effect], None]


class Step(NamedTuple):
    """The state after a fact, and the effects."""

    state: SessionState
    effects: tuple[Effect, ...] = ()
