"""A stand-in and a linked browser per module; more browsers for tests that end or restart them."""

import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from msgspec.structs import asdict

from waguard.lab.standin import Policy, StandIn

from .chrome import Chrome, Launcher


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standin() -> AsyncIterator[StandIn]:
    async with StandIn(policy=Policy(sync=0.1, reconnect_delay=0.05)) as running:
        yield running


@pytest.fixture
def policy(standin: StandIn) -> Policy:
    """The policies, as they are by default here; a test may change them."""
    for name, value in asdict(Policy(sync=0.1, reconnect_delay=0.05)).items():
        setattr(standin.policy, name, value)
    return standin.policy


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def launcher(
    standin: StandIn, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Launcher]:
    """Starts browsers; all of them end with the module."""
    async with contextlib.AsyncExitStack() as stack:
        yield Launcher(standin, lambda: tmp_path_factory.mktemp("profile"), stack)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(launcher: Launcher) -> Chrome:
    """A browser on the stand-in's page, linked to the default phone."""
    chrome = await launcher.launch()
    await launcher.link(chrome)
    return chrome
