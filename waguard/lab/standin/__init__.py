"""A stand-in of WhatsApp Web on loopback, for the tests and for a demo.

`page/` is a web page on which the real, unmodified wa-js runs: a module runtime like Meta's with thin fakes of the
modules that wa-js looks for. `server` serves it as https://web.whatsapp.com/ to a Chromium that got `browser_args`,
`whatsapp` is what would be WhatsApp's servers (accounts, linked devices, queues), and `phone` plays the human with
the phone, by HTTP. It is faithful in what loses messages; it proves nothing about WhatsApp's servers, bans, groups.
"""

from waguard.lab.standin.behaviour import Policy
from waguard.lab.standin.server import StandIn, serve

__all__ = ["Policy", "StandIn", "serve"]
