"""A double of the Laravel application that waguard serves, its bad manners included.

For tests, chaos and benches: it knows nothing of the daemon but its wire contract and its database.
``manners.py`` is how it behaves, ``calls.py`` how it calls, ``hooks.py`` how it takes webhooks and
``controller.py`` what it does with them, ``worker.py`` its queue. ``tables.py`` has the tables that it
shares with the daemon's database, ``accounts.py`` and ``chats.py`` use them, ``records.py`` is all that it
lost. It counts as the application counts: it does not dedupe.
"""

from waguard.lab.application.application import Application, NoSuchRowError
from waguard.lab.application.calls import Keys, Reply
from waguard.lab.application.chats import STORED
from waguard.lab.application.manners import Manners
from waguard.lab.application.records import Dropped, Records, Row, Unheard

__all__ = [
    "STORED",
    "Application",
    "Dropped",
    "Keys",
    "Manners",
    "NoSuchRowError",
    "Records",
    "Reply",
    "Row",
    "Unheard",
]
