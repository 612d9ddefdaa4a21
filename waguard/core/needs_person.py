"""Which conditions a person must act on: one table by type, and by reason where the type does not decide it. Pure.

What waguard retries, heals or ends by itself needs nobody, and neither does a step to a first connection. Where a
condition of all sessions names the cause, the conditions of the sessions do not ask for a person again.
"""

from collections.abc import Mapping
from typing import Final

NEEDS_PERSON: Final[Mapping[str, bool | Mapping[str, bool]]] = {
    # ---- all sessions at once ----
    "restoring": False,
    "begin_failed": True,
    "fleet_breaker_opened": True,
    "network_down": True,
    "acks_missing_everywhere": False,  # nobody on this host can end it
    "sends_throw_everywhere": True,
    "pages_restart_everywhere": True,
    "database_down": True,
    "database_unknown": True,
    "database_unfit": True,
    "database_behind": True,
    "disk_low": True,
    "browser_missing": True,
    "browser_hangs": True,
    "sandbox_missing": True,
    "browser_outdated": False,
    "browser_update_failed": True,
    "disk_unusable": True,
    "sessions_folder_missing": True,
    "runtime_removed": True,
    "release_rolled_back": True,
    "task_hangs": True,
    "version_held": False,
    "version_refused": True,
    "bundle_rolled_back": True,
    "versions_lost": True,
    "lease_held": True,
    "standby": False,
    "events_left_behind": True,
    "workers_unprotected": False,  # their next restart ends it
    "credentials_not_shared": True,
    "keys_unreadable": True,
    "ratchets_rolled_back": True,
    "alerts_undeliverable": True,
    "hosts_differ": True,
    "host_missing": True,
    "host_without_lease": True,
    "engine_away": True,
    "no_room": True,
    # ---- messages on their way ----
    "webhooks_down": True,
    "webhooks_late": True,
    "webhooks_held": False,  # the session's own condition says what to do
    "dead_letters": True,
    "letters_restored": True,
    "letters_uncertain": True,
    "letters_stored": True,
    "letters_undecryptable": True,
    "stored_unknown": True,
    "row_disputed": True,
    "numbers_unknown": True,
    # ---- found by waguard itself ----
    "supervision_failed": True,
    "acks_late": False,
    "sends_throw": True,  # what was refused is not sent again
    "deaf": False,
    "sentinel_failed": True,
    "profile_without_row": True,
    "same_phone": True,
    "runs_without_profile": True,
    # ---- one session ----
    "unlinked": True,
    "page": False,
    "parked": {
        "restart_budget": True,
        "conflict": True,
        "blocked": True,
        "needs_update": True,
        "qr_expired": False,  # of a first connection; where the link was lost, "unlinked" stands as well
        "profile_missing": True,
        "page_floods": True,
    },
    "link": {
        "qr_pending": False,  # as for "qr_expired"
        "logged_out": False,
        "pairing": False,
        "passkey_required": False,
        "offline": False,
        "proxy": True,  # only its own one fails, and waguard goes no other way
        "syncing": False,
        "unknown": False,
        "conflict": False,  # waguard takes it back, or parks it
        "blocked": True,
        "needs_update": True,
    },
    # ---- what a session waits for, or why its last worker ended ----
    "start": {
        "place": False,
        "memory": True,
        "pressure": True,
        "pids": True,
        "fleet": False,  # this one and the next six: of all sessions at once
        "disk": False,
        "executable": False,
        "browser_hangs": False,
        "sandbox": False,
        "sessions_folder": False,
        "lease": False,
        "turn": False,
        "whatsapp": False,
        "disk_full": False,  # "disk_unusable" says it of all, down to "disk_silent"
        "inodes_full": False,
        "disk_read_only": False,
        "disk_unwritable": False,
        "disk_silent": False,
        "pids_short": True,
        "descriptors_short": True,
        "sandbox_missing": False,
        "browser_unusable": False,
        "profile_locked": True,
        "proxy_unreadable": True,
        "credentials_unreadable": True,
        "profile_newer": True,
        # what no restart counts, so that it is tried forever
        "profile_held": True,
        "profile_unreadable": True,
        "profile_not_mounted": True,
        "old_profile_in_use": True,
        "runtime_unusable": True,
        "spawn_failed": True,  # nothing else explains it
        "exports_missing": True,  # where an older version helps it is over before anybody hears of it
        "credentials_unknown": False,  # "database_down" says it of all
        "lease_expired": False,  # as "lease"
        "not_owned": False,  # another host has it
        "orphaned": False,  # the next worker has this daemon
        "profile_missing": False,  # it is parked for it
        # what is planned, or under way
        "starting": False,
        "not_started": False,
        "recycled": False,
        "ended": False,
        # the session's own: its restarts count, and then it is parked
        "bad_spec": False,
        "browser_not_started": False,
        "browser_gone": False,
        "browser_killed": False,
        "credentials_lost": False,
        "storage_closed": False,
        "page_not_ready": False,
        "page_restarts": False,
        "page_silent": False,
        "not_ready": False,
        "link_unknown": False,
        "no_new_code": False,
        "stopped": False,
        "worker_failed": False,
        "worker_gone": False,
        "worker_killed": False,
        "worker_silent": False,
        "worker_unusable": False,
    },
    # ---- what a page or the messages of a session show ----
    "passkey_required": False,
    "update_persists": True,
    "link_stuck": True,
    "acks_in_vain": True,
    "memory_in_vain": True,
    "action_required": True,
    "whatsapp_refuses": False,  # nobody on this host can end it
    "undecryptable": True,
    "first_contacts_paused": False,
    "page_restarts": False,  # it is parked if that goes on
    "page_floods": False,
}


def needs_person(kind: str, reason: str) -> bool:
    """Whether a person must act on a condition of this type with this reason; an unknown one is for a person."""
    found = NEEDS_PERSON.get(kind, True)
    return found if isinstance(found, bool) else found.get(reason, True)
