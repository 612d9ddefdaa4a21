"""What a restore of a backup cannot bring back, and what a person decides about after it. Pure."""

import datetime as dt

from msgspec import Struct

from waguard.core.backup_contents import API_KEY, KEYS, Manifest


class Counts(Struct, frozen=True, kw_only=True):
    """What was done with the rows of the restored database."""

    uncertain: int = 0
    """Messages that were not sent yet, or may have been."""
    held: int = 0
    """Webhooks that may have been delivered already."""


def lost(manifest: Manifest, counts: Counts) -> list[str]:
    """What a restore cannot bring back, and what a person decides about; one sentence each."""
    at, found = _time(manifest.made_at), []
    found += [
        f"session {it.session} (workspace {it.workspace}): no credentials, it needs a scan: {it.why}"
        for it in manifest.sessions
        if it.snapshot is None
    ]
    if manifest.has_database:
        found += [
            (
                f"sessions that were made, and all that was sent, received and changed since {at}: the phones have these"
                " messages; WhatsApp delivers only what the old host never got"
            ),
            "received files (`media`): webhooks that name one come without it",
        ]
    if counts.uncertain:
        found.append(
            f"{counts.uncertain} messages were unfinished and are uncertain now: none is sent again by itself;"
            " `waguard messages list --state uncertain`"
        )
    if counts.held:
        found.append(
            f"{counts.held} webhooks may have been delivered since {at}: they wait;"
            " `waguard webhooks list --state restored`"
        )
    if any(it.snapshot for it in manifest.sessions):
        found.append(
            "messages to groups wait: members may be unable to read what is sent with older keys;"
            " `waguard release groups` ends that"
        )
    if any(it.name in {KEYS, API_KEY} for it in manifest.members):
        found.append(
            f"keys that were removed or revoked since {at} are valid again: `waguard keys list`"
        )
    return found


def _time(at: float) -> str:
    return f"{dt.datetime.fromtimestamp(at, dt.UTC):%Y-%m-%d %H:%M} UTC"
