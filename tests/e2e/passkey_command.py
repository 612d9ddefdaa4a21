"""`waguard passkey` as a person runs it: the passkey is in a virtual authenticator, and a hand clicks on the card.

Its first argument is JSON: `arguments` and `sandbox` of the Chrome, the `passkey`, the `button` that is pressed.
"""

import asyncio
import json
import sys
from typing import Any

from tests.cli.program import CONTEXT
from tests.desk import plug_in, press
from waguard.cli import main
from waguard.cli.context import Desk
from waguard.core.replace import replace
from waguard.worker.browser.page import PageSession


def desk(given: dict[str, Any]) -> Desk:
    """Where the person is."""
    hands = []

    async def opened(_: object, page: PageSession) -> None:
        await plug_in(page, given["passkey"])
        hands.append(asyncio.create_task(press(page, given["button"])))

    arguments = tuple(given["arguments"])
    return Desk(arguments=arguments, visible=False, sandbox=given["sandbox"], opened=opened)


if __name__ == "__main__":
    context = replace(CONTEXT, link_poll=0.2, desk=desk(json.loads(sys.argv[1])))
    sys.exit(main(sys.argv[2:], context))
