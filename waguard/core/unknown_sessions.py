"""Why nobody knows which sessions there are, by the types of the conditions. Pure."""

from collections.abc import Collection
from typing import Final

_BARRED: Final = {
    **dict.fromkeys(("standby", "lease_held"), "another daemon has the database's lease"),
    "host_without_lease": "this host is without its lease",
    "database_unknown": "the database, or the etcd, is not known to be this installation's",
}
NOT_ANSWERED: Final = "the database does not answer"


def barred(types: Collection[str]) -> str | None:
    """Why the database is not used although it may answer; None: it is used. Without a name or an address."""
    return next((words for kind, words in _BARRED.items() if kind in types), None)


def why(types: Collection[str], *, answers: bool) -> str:
    """The true cause. ``answers``: the database does."""
    return barred(types) or ("waguard has not read them yet" if answers else NOT_ANSWERED)
