"""Documents as WhatsApp Web serves them, without all that no test needs."""

from typing import Final

REVISION: Final = 1_045_220_589
URL: Final = "https://web.whatsapp.com/"
HTML: Final = (("content-type", 'text/html; charset="utf-8"'),)
UNSUPPORTED: Final = b"<html>WhatsApp works with Google Chrome 85+. Update Google Chrome.</html>"
PORTAL: Final = b"<html><title>Guest network</title><form>Room number: <input></form></html>"


def body(revision: int = REVISION, *, client: int | None = None, whole: bool = True) -> bytes:
    """``client``: another revision than the manifest's."""
    end = "<div id='has-finished-comet-page' hidden></div></body></html>" if whole else ""
    return (
        f'<!DOCTYPE html><html><link data-btmanifest="{revision}_main" href="a">'
        f'<script data-btmanifest="{revision}_main">{{"client_revision":{client or revision},'
        f'"server_revision":1}}</script><p>\N{BUS}</p>{end}'
    ).encode()
