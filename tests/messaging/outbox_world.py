"""An outbox on scripted sessions, and a clock that a test moves."""

from tests.api.fake_sessions import SESSION, FakeSessions
from waguard.config import Send
from waguard.messaging.outbox import Outbox, Ticket

CHAT = "6281234567890@c.us"


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class World:
    """An outbox on scripted sessions."""

    def __init__(self) -> None:
        self.sessions = FakeSessions()
        self.clock = Clock()
        self.outbox = Outbox(self.sessions, Send, clock=self.clock)

    def send(self, text: str = "hi", chat: str = CHAT, session: str = SESSION) -> Ticket:
        return self.outbox.send_text(session, chat, text)
