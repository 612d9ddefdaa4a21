"""A stand-in, the double of the application, and the daemon between them, as tests have them."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from tests.e2e.harness import Daemon, settings_for, short_folder
from tests.ports import reserved_port
from tests.store.conftest import new_database
from tests.waiting import wait_until
from waguard.config.sections import Webhook
from waguard.lab.application import STORED, Application, Manners
from waguard.lab.standin import Policy, StandIn
from waguard.lab.standin.refusal import Refusal

PHONE: Final = "6281180001"
FRIEND: Final = "6281180002"
SECRET: Final = b"a secret of the tests"
# PHP starts slowly: `message_sent` does not overtake the commit that follows a reply (test_stored.py)
QUICK: Final = Manners(call_back=0.2, nap=0.3, job=0.0, commit=0.0, boot=0.3)
DEADLINE: Final = 45.0  # s


@dataclass(frozen=True)
class Setting:
    """How a sequence is played."""

    restarted: bool = False
    backend: str = "sqlite"
    manners: Manners = QUICK


@dataclass
class Served:
    """A stand-in, the application, and the daemon between them."""

    standin: StandIn
    app: Application
    daemon: Daemon
    restarted: bool
    scanned: set[str] = field(default_factory=set)

    async def middle(self) -> None:
        """Here the daemon is restarted, where the test is about that, as a service manager does."""
        if self.restarted:
            assert await self.daemon.stop() == 0, self.daemon.log()[-2000:]
            await self.daemon.start()

    async def scan(self, session: str, phone: str = PHONE, *, after: int = 0) -> None:
        """The person scans the newest code that the application shows."""

        async def done() -> bool:
            codes = [
                one["data"]["raw"]
                for one in self.app.received[after:]
                if one["event"] == "qr_code_generated" and one["data"]["session_id"] == session
            ]
            if not codes or codes[-1] in self.scanned:
                return False
            self.scanned.add(codes[-1])
            with contextlib.suppress(Refusal):  # it has just expired: the next one is on its way
                self.standin.phone.scan(codes[-1], phone=phone)
                return True
            return False

        await self.daemon.until(done)

    async def row(self, session: str, status: str) -> dict[str, Any]:
        """Wait until the row says so; the row."""

        async def there() -> dict[str, Any] | None:
            row = await self.app.row(session)
            return row if row["status"] == status else None

        result: dict[str, Any] = await self.daemon.until(there)
        return result

    async def connected(self, phone: str = PHONE) -> str:
        """A session that is connected, by the row and by its webhook."""
        session, reply = await self.app.connect()
        assert reply.good, reply
        await self.scan(session, phone)
        await self.row(session, "connected")
        await self.late_jobs_are_over(session)
        return session

    async def late_jobs_are_over(self, session: str) -> None:
        """What they flip is another test's (test_stored.py); nobody can send meanwhile."""
        await self.app.workers.is_idle()
        await self.row(session, "connected")

    async def comes_in(self, session: str, text: str, **more: Any) -> None:
        """A friend writes, and the application stores it: once."""
        self.standin.phone.incoming(phone=PHONE, from_=FRIEND, body=text, **more)
        await self.stored(session, text)

    async def stored(self, session: str, text: str, *, within: float = DEADLINE) -> None:
        """Wait until the application has it; how it lost it is told otherwise."""
        app = self.app

        def found() -> bool:
            lost = [one for one in app.records.dropped if one.event == "message_received"]
            assert not lost, lost
            return text in app.records.bodies(session)

        await wait_until(found, f"“{text}” is stored", deadline=within)
        assert app.records.bodies(session).count(text) == 1

    def sent(self, text: str, phone: str = PHONE) -> list[dict[str, Any]]:
        """The messages with this text, or caption, that reached WhatsApp."""
        known = self.standin.phone.messages(phone)
        return [m for m in known if text in (m.get("body"), m.get("caption"))]


@contextlib.asynccontextmanager
async def serving(setting: Setting, request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    """All of it."""
    async with contextlib.AsyncExitStack() as stack:
        port = stack.enter_context(reserved_port())
        folder = stack.enter_context(short_folder())
        state = folder / "state"
        url = await new_database(setting.backend, request, state)
        standin = await stack.enter_async_context(StandIn(policy=Policy(sync=0.1, auto_receipt=2)))
        app = await stack.enter_async_context(
            Application(url, f"http://127.0.0.1:{port}", secret=SECRET, manners=setting.manners)
        )
        environment = settings_for(standin, app.url, folder, WAGUARD_API__PORT=str(port))
        environment |= app.environment(state) | {"WAGUARD_DATABASE__URL": url}
        if "stored" in Webhook.__struct_fields__:
            environment["WAGUARD_WEBHOOK__STORED"] = STORED
        await app.accounts.migrate()
        daemon = await stack.enter_async_context(Daemon(folder, environment))
        await daemon.start()
        yield Served(standin, app, daemon, setting.restarted)
