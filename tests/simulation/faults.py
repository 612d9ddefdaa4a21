"""What can go wrong, for how long, and how soon it has to be well again once the cause has gone."""

from typing import Final, NamedTuple


class Fault(NamedTuple):
    """Between ``at`` and ``end``, in seconds; ``session`` "*": all of them."""

    at: float
    kind: str
    session: str
    end: float


class Kind(NamedTuple):
    """``longest``: s; 0: a moment. ``bound``: s from the end of its cause until the session is up."""

    longest: float
    bound: float
    afflicts: bool = True
    """While it lasts nothing is expected of the session."""
    person: bool = False
    """It may take a person to end it."""


_SOON, _START, _REFUSED = 420.0, 120.0, 1_560.0
_STUCK = 2_400.0  # a reload after 900 s at most, a replacement after as long again, and a start
_ACKS = 3_000.0  # one at a time, the same one not twice in 10 min

OWN: Final = {
    "kill_worker": Kind(0, _SOON),
    "oom_kill": Kind(0, _SOON),
    "crash": Kind(0, _SOON),
    "page_hang": Kind(120, _SOON),
    "sigstop": Kind(60, _SOON),
    "worker_hang": Kind(60, _SOON),
    "nonsense": Kind(0, _SOON),
    "stuck_offline": Kind(0, _STUCK),
    "stuck_syncing": Kind(0, _STUCK),
    "stuck_pairing": Kind(0, _STUCK),
    "link_unknown": Kind(0, _SOON),
    "phone_off": Kind(90_000, _SOON),
    "no_acks": Kind(0, _ACKS),
    "memory": Kind(1_200, 1_800),
    "crash_loop": Kind(900, _SOON),
    "never_ready": Kind(300, _SOON),
    "page_reloads": Kind(900, _SOON),
    "page_spins": Kind(900, _SOON),
    "profile_held": Kind(300, _SOON),
    "spawn_refused": Kind(300, _SOON),
    "refused_one": Kind(1_800, _REFUSED),
    "unlink": Kind(240, _SOON, person=True),
    "qr_stale": Kind(600, _SOON, person=True),
    "logout": Kind(300, _SOON, person=True),
    "passkey": Kind(900, _SOON, person=True),
    "conflict": Kind(900, _SOON, person=True),
    "blocked": Kind(3_600, _SOON, person=True),
    "too_old": Kind(3_600, _SOON, person=True),
    "update": Kind(3_600, _SOON, afflicts=False),
    "dialog": Kind(600, _SOON, afflicts=False),
    "operator_stop": Kind(600, _START),
    "operator_restart": Kind(0, _START),
    "reconnect": Kind(0, _START),
    "desired_down": Kind(600, _START),
    "removed": Kind(120, _START),
    "row_changed": Kind(0, _SOON, afflicts=False),
}
"""Of one session."""

HOST: Final = {
    "network": Kind(600, _SOON),
    "network_unsure": Kind(900, _SOON),
    "no_route": Kind(3_600, _SOON, afflicts=False),
    "whatsapp_500": Kind(1_800, _REFUSED),
    "whatsapp_429": Kind(900, 3_600 * 1.5 + 120),
    "whatsapp_hang": Kind(900, _REFUSED),
    "executable": Kind(900, _SOON),
    "unusable": Kind(600, _SOON),
    "folder": Kind(900, _SOON),
    "hanging": Kind(600, _SOON),
    "disk_full": Kind(600, _SOON),
    "runtime_full": Kind(600, _SOON),
    "inodes": Kind(600, _SOON),
    "read_only": Kind(600, _SOON),
    "build_reloads": Kind(900, _SOON),
    "memory_short": Kind(600, _SOON),
    "pids_short": Kind(600, _SOON),
    "database": Kind(300, _SOON, afflicts=False),
    "database_emptied": Kind(300, _SOON, afflicts=False),
    "database_other": Kind(300, _SOON, afflicts=False),
    "volume_away": Kind(300, _SOON, afflicts=False),
    "lease": Kind(300, _SOON),
    "daemon": Kind(45, _SOON),
    "daemon_long": Kind(400, _SOON),
    "upgrade": Kind(20, _SOON),
    "orderly": Kind(60, _SOON),
    "standstill": Kind(90, _SOON),
    "host_stall": Kind(15, _SOON),
    "fleet_crash": Kind(600, _SOON),
    "fleet_kill": Kind(0, _SOON),
    "acks_everywhere": Kind(3_600, _ACKS),
    "wall_step": Kind(0, _SOON, afflicts=False),
    "settings": Kind(0, _SOON, afflicts=False),
}
"""Of all."""

KINDS: Final = {**OWN, **HOST}
SLOWLY: Final = 4_500.0  # s; with a spent budget: up to an hour and a fifth between two tries
TURN: Final = 90.0  # s of such a try; others have to wait for it
HEALED_LINKS: Final = (
    300.0  # s connected, after which earlier steps against a stuck link are forgotten
)
EXIT_CODES: Final = (13, 18, 21, 11, 19, 12, 17, 1, 10)
LACKS: Final = ("disk_full", "runtime_full", "inodes", "read_only", "hanging")
"""What the host lacks for Chromium; a worker fails with any exit code then."""
CODES_OF_A_LACK: Final = (1, 10, 12, 13, 16, 18, 20, 22)
REFUSALS: Final = ("refused_one", "whatsapp_500", "whatsapp_429", "whatsapp_hang")
DAEMON: Final = ("daemon", "daemon_long", "upgrade", "orderly")
ANOTHER: Final = ("database_emptied", "database_other", "volume_away")
"""While they last the daemon finds another database than its own."""
EVERYWHERE: Final = "*"
