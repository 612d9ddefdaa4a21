"""Exit codes: of the daemon and the command line, and of a worker with what they mean."""

from typing import Final

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
"""The configuration or the command is wrong: systemd does not start it again."""
EXIT_HELD: Final = 3
"""Another instance holds the folder's lock or the database's lease: systemd does not start it again."""
EXIT_PORT: Final = 4
EXIT_UNHEALTHY: Final = 5
"""The question was answered, and something is wrong."""
EXIT_LEASE_LOST: Final = 6
"""With a standby: another host has the lease now. systemd starts it again, and it waits there."""


# of a worker: none of those above
EXIT_BROWSER_NOT_STARTED: Final = 10
EXIT_PROFILE_LOCKED: Final = 11
EXIT_PAGE_NOT_READY: Final = 12
EXIT_BROWSER_GONE: Final = 13
EXIT_ORPHANED: Final = 14
EXIT_BAD_SPEC: Final = 15
EXIT_PROFILE_HELD: Final = 16
EXIT_CREDENTIALS_LOST: Final = 17
EXIT_STORAGE_CLOSED: Final = 18
EXIT_EXPORTS_MISSING: Final = 19
EXIT_BROWSER_UNUSABLE: Final = 20
EXIT_BROWSER_KILLED: Final = 21
EXIT_DISK_FULL: Final = 22
EXIT_LEASE_EXPIRED: Final = 24

EXIT_MEANINGS: Final = {
    0: "stopped as requested",
    EXIT_BROWSER_NOT_STARTED: "Chromium did not start",
    EXIT_PROFILE_LOCKED: "the profile is in use by another process",
    EXIT_PAGE_NOT_READY: "WhatsApp's page did not become ready",
    EXIT_BROWSER_GONE: "Chromium died",
    EXIT_ORPHANED: "no daemon connected within worker.orphan_grace",
    EXIT_BAD_SPEC: "it could not read its instructions",
    EXIT_PROFILE_HELD: "the profile cannot be used for now",
    EXIT_STORAGE_CLOSED: "Chromium closed the page's storage",
    EXIT_EXPORTS_MISSING: "wa-js does not know this version of WhatsApp's page",
    EXIT_BROWSER_UNUSABLE: "Chromium cannot be executed, or does not start with any profile",
    EXIT_BROWSER_KILLED: "Chromium was killed, or its page crashed",
    EXIT_CREDENTIALS_LOST: "it shows a QR code although it was paired",
    EXIT_DISK_FULL: "the disk of its profile is full",
    EXIT_LEASE_EXPIRED: "its daemon did not renew the database's lease in time",
}

_OF_A_FULL_DISK: Final = frozenset(
    {
        EXIT_BROWSER_NOT_STARTED,
        EXIT_BROWSER_GONE,
        EXIT_BROWSER_UNUSABLE,
        EXIT_PAGE_NOT_READY,
        EXIT_PROFILE_HELD,
        EXIT_STORAGE_CLOSED,
    }
)


def blame_disk(code: int) -> int:
    """The exit code to use where the disk of the profile is full: that explains the failures of what writes there."""
    return EXIT_DISK_FULL if code in _OF_A_FULL_DISK else code
