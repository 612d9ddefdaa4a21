"""What the network serves, without a browser."""

import ssl

import aiohttp

from waguard.lab.standin import StandIn
from waguard.lab.standin.documents import HOST


async def get(
    standin: StandIn, path: str, host: str = HOST, cookie: str = ""
) -> tuple[int, dict[str, str], str]:
    """Status, headers by name in lower case, text."""
    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    url, headers = f"https://127.0.0.1:{standin.port}{path}", {"Host": host, "Cookie": cookie}
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, ssl=unchecked, headers=headers) as response,
    ):
        named = {name.lower(): value for name, value in response.headers.items()}
        return response.status, named, await response.text()
