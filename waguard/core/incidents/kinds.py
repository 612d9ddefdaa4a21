"""Which entries of the audit log begin an incident, act in it and end it: tables. Pure."""

from collections.abc import Mapping
from typing import Final

from waguard.core import remedies
from waguard.core.blame import Blame
from waguard.core.link import Link
from waguard.core.page_care import Kind
from waguard.core.row_status import Status

HEALTHY: Final = frozenset({Status.CONNECTED})
# the way to the first connection is no incident
ON_THE_WAY: Final = frozenset({Status.QR_SCANNING, Status.AUTHENTICATED})
TROUBLE: Final = frozenset(
    {
        *(
            "restart",
            "parked",
            "logged_out",
            "unlinked",
            "profile_mended",
            "reconciled",
            "row_corrected",
        ),
        *(
            "acks_missing",
            "sends_throw",
            "page_deaf",
            "sentinel_failed",
            "webhooks_held",
            "webhooks_down",
            "row_disputed",
            "backfill_gap",
            "supervision_failed",
        ),
        "undecryptable_given_up",
        *map(str, Kind),
    }
)
BEGUN: Final = "supervision_began"
"""A daemon begins to supervise a session, and knows nothing of the conditions that an earlier one had reported."""
BACK: Final = {
    "acks_back": "WhatsApp acknowledges again",
    "sends_back": "its page sends again",
    "page_hears": "its page raises events again",
    "sentinel_back": "its message to its own number works again",
    "webhooks_released": "its webhooks are delivered again",
    "webhooks_up": "its receiver accepts webhooks again",
    "row_undisputed": "its row stays as it is, or a person decided otherwise",
    "supervision_goes_on": "waguard watches it again",
    BEGUN: "another daemon supervises it, and reports anew what is still so",
}
OF_PAGE: Final = frozenset(map(str, Kind))
ADVICE: Final[Mapping[str, str]] = {
    **{str(kind): advice for kind, advice in remedies.PAGE.items()},
    **{kind: remedies.FLEET[kind] for kind in ("webhooks_held", "webhooks_down", "row_disputed")},
    "logged_out": remedies.LINKS[Link.LOGGED_OUT],
    "unlinked": remedies.LINKS[Link.QR_PENDING],
    "supervision_failed": remedies.FAULT,
    "acks_missing": remedies.ACKS_LATE,
    "sends_throw": remedies.SENDS_THROW,
    "page_deaf": remedies.DEAF,
    "sentinel_failed": remedies.SENTINEL,
}
# what is over as soon as it is recorded, unless it is part of another incident
OVER_AT_ONCE: Final = {
    "row_corrected": "the row is right again",
    "backfill_gap": "the session goes on",
    "undecryptable_given_up": "the session goes on",
}
SESSION_ENDS: Final = {
    "webhooks_held": "webhooks_released",
    "webhooks_down": "webhooks_up",
    "row_disputed": "row_undisputed",
}
"""What other parts of waguard report of a session, and what ends it."""
OWN_ENDS: Final = {
    "acks_missing": "acks_back",
    "sends_throw": "sends_back",
    "page_deaf": "page_hears",
    "sentinel_failed": "sentinel_back",
    "supervision_failed": "supervision_goes_on",
    **SESSION_ENDS,
    **{str(kind): f"{kind}_over" for kind in Kind},
}
"""What can begin and end while a session is connected, and what ends it. This ends no other incident."""
LOSSES: Final = frozenset({"parked", "logged_out", "unlinked"})
"""What only a new connection ends."""
STARTED: Final = "waguard_started"
DIED: Final = "daemon_died"
RESTORED: Final = "daemon_restored"
# kinds that concern all sessions at once, and the kind that ends each
FLEET_ENDS: Final = {
    "begin_failed": "begin_works",
    "fleet_breaker_opened": "fleet_breaker_closed",
    "network_down": "network_up",
    "database_down": "database_up",
    "database_unknown": "database_known",
    "database_unfit": "database_fit",
    "disk_low": "disk_free",
    "acks_missing_everywhere": "acks_back_everywhere",
    "sends_throw_everywhere": "sends_back_everywhere",
    "pages_restart_everywhere": "pages_rest_everywhere",
    "webhooks_down": "webhooks_up",
    "webhooks_late": "webhooks_in_time",
    "dead_letters": "dead_letters_gone",
    "letters_uncertain": "letters_certain",
    "letters_stored": "letters_checked",
    "letters_undecryptable": "letters_read",
    "letters_restored": "letters_released",
    "ratchets_rolled_back": "groups_released",
    "stored_unknown": "stored_known",
    "database_behind": "database_caught_up",
    "runtime_removed": "runtime_back",
    "release_rolled_back": "release_replaced",
    "task_hangs": "task_ended",
    "browser_missing": "browser_back",
    "browser_hangs": "browser_answers",
    "sandbox_missing": "sandbox_back",
    "browser_outdated": "browser_current",
    "browser_update_failed": "browser_update_works",
    "sessions_folder_missing": "sessions_folder_back",
    "disk_unusable": "disk_usable",
    "lease_held": "lease_taken",
    "standby": "standby_over",
    "events_left_behind": "events_accounted_for",
    "workers_unprotected": "workers_protected",
    "engine_away": "engine_back",
    "host_without_lease": "host_has_lease",
    "host_missing": "host_back",
    "no_room": "room_again",
    "credentials_not_shared": "credentials_shared",
    "keys_unreadable": "keys_readable",
    "alerts_undeliverable": "alerts_delivered",
    "hosts_differ": "hosts_agree",
    "whatsapp_refuses": "whatsapp_serves",
    "version_held": "version_released",
    "version_refused": "version_accepted",
    "bundle_rolled_back": "bundle_released",
    "versions_lost": "versions_decided",
    DIED: RESTORED,
}
FLEET_STEPS: Final = frozenset({"version_suspected", "version_held_long", "version_works"})
"""Steps about a version: they are part of the incident that they lead to."""
OF_VERSIONS: Final = ("version_released", "version_accepted", "bundle_released")
FLEET_DONE: Final = {
    "begin_failed": "the start was tried again; workers went on, and kept what they received",
    "fleet_breaker_opened": "restarts waited, one session was tried at a time",
    "network_down": "no session was restarted for it",
    "database_down": "sessions went on; workers kept what they received until it was stored",
    "database_unknown": "sessions went on; none was created or ended, and nothing was read from it",
    "database_unfit": "sessions went on; what could not be stored waited, and rows were not compared",
    "disk_low": "new work was refused; received messages were stored",
    "acks_missing_everywhere": "no worker was replaced for it",
    "sends_throw_everywhere": "one worker at a time was replaced, at growing intervals",
    "pages_restart_everywhere": "workers were replaced only to try an older version",
    "webhooks_down": "webhooks waited in the database; one at a time was tried",
    "webhooks_late": "the others were delivered",
    "dead_letters": "these were not sent to the receiver again",
    "letters_uncertain": "they were not delivered again: the application may have them",
    "letters_stored": "they were not delivered again: the application has them",
    "letters_undecryptable": "the phone has the messages",
    "letters_restored": "they were not delivered again: the application may have them",
    "ratchets_rolled_back": "messages to groups waited; private ones were sent",
    "stored_unknown": "a 2xx waited for it; it counted as delivered only where that lasted, as a missing right does",
    "database_behind": "new work was refused; received messages waited",
    "runtime_removed": "sessions went on; the folder was created again where possible",
    "release_rolled_back": "the release before continues; sessions were adopted",
    "browser_missing": "sessions that were to start waited; no restart was spent",
    "browser_hangs": "one session at a time tried it; no restart was spent",
    "sandbox_missing": "one session at a time tried it; no restart was spent",
    "browser_outdated": "idle sessions got the installed one, one at a time",
    "browser_update_failed": "no further session got it",
    "disk_unusable": "sessions that were to start waited; no restart was spent",
    "sessions_folder_missing": "sessions that were to start waited; no new profile was created",
    "lease_held": "nothing was supervised, sent or delivered from here",
    "standby": "nothing was supervised, sent or delivered from here, as is meant",
    "events_left_behind": "the sessions were started here; what their chats have was read back",
    "workers_unprotected": "they were left as they are",
    "engine_away": "sessions went on as long as the host's lease; none moved",
    "host_without_lease": "its sessions were closed in order; none was claimed",
    "host_missing": "other hosts claimed its sessions",
    "no_room": "they waited; no restart was spent",
    "credentials_not_shared": "the sessions went on; what was shared before was kept",
    "task_hangs": "all else went on",
    "keys_unreadable": "none was issued, and the file was left as it is; keys of api.key_file were accepted",
    "alerts_undeliverable": "they were tried again at growing intervals",
    "hosts_differ": "each host went on with its own sessions",
    "whatsapp_refuses": "one session at a time tried for all, at growing intervals; no restart was spent",
    "version_held": "sessions that failed, or had not sent anything, were loaded with an older version",
    "version_refused": "the sessions keep what they have",
    "bundle_rolled_back": "sessions got the wa-js that they had before",
    "versions_lost": "sessions got what WhatsApp serves; the damaged file was kept",
    DIED: "the next daemon searched for the workers that were still running",
}
FLEET_RESULTS: Final = {
    "begin_works": "the start worked, or something else kept it from working",
    "fleet_breaker_closed": "one session was up again, and the others followed",
    "network_up": "the network was back, and the sessions reconnected by themselves",
    "database_up": "the database answered again",
    "database_known": "the database was put right, or a person accepted it",
    "database_fit": "all rows could be read again",
    "disk_free": "there was room again",
    "acks_back_everywhere": "WhatsApp acknowledged again",
    "sends_back_everywhere": "sends were acknowledged again",
    "pages_rest_everywhere": "most pages stay loaded again",
    "webhooks_up": "the receiver accepted webhooks again, or nothing waits for it any more",
    "webhooks_in_time": "no chat's next webhook waits for so long any more",
    "dead_letters_gone": "a person replayed or discarded them",
    "letters_certain": "a person replayed or discarded them",
    "letters_read": "a person discarded them",
    "letters_checked": "a person discarded or replayed them",
    "letters_released": "a person released or discarded them, or another host has them",
    "groups_released": "a person released them, or another host has the sessions",
    "stored_known": "it was looked up again, or webhook.stored was removed",
    "database_caught_up": "everything that waited was stored",
    "runtime_back": "lock, pid file and sockets were there again",
    "release_replaced": "a newer release is used",
    "task_ended": "it ended",
    "browser_back": "Chromium started again, or no session waited for it any more",
    "browser_answers": "Chromium started again, or no session waited for it any more",
    "sandbox_back": "Chromium started again, or no session waited for it any more",
    "browser_current": "all sessions run the installed one, or it failed",
    "browser_update_works": "a session works with it, or another one was installed",
    "disk_usable": "it could be written again, or no session waited for it any more",
    "sessions_folder_back": "the profiles were there again, or no session waited for them any more",
    "whatsapp_serves": "a page was served again, or no session waited for one any more",
    "version_released": "a newer version worked, as canaries showed, or a person decided otherwise",
    "version_accepted": "WhatsApp serves a newer version",
    "bundle_released": "it is used again, or it is not there any more",
    "versions_decided": "a person pinned a version, or said that none is",
    "standby_over": "the lease was released or not renewed, and this waguard took over",
    "events_accounted_for": "it was shown for a day",
    "workers_protected": "they were replaced, or standby was switched off",
    "engine_back": "the engine answered again",
    "host_has_lease": "the lease was renewed again, and its sessions started",
    "host_back": "all hosts renew their leases, or were taken out in order",
    "room_again": "a host had room, or no session waits for one any more",
    "credentials_shared": "they are shared again, or the sessions are gone",
    "keys_readable": "it was put right, or moved away",
    "alerts_delivered": "they were delivered, or are not true any more",
    "hosts_agree": "all hosts have the same settings and format again",
    "lease_taken": "the lease was released, or it expired without a renewal",
    RESTORED: "the sessions were supervised again",
    STARTED: "waguard was started again",
}
FLEET_OVER_AT_ONCE: Final = {
    "file_unreadable": "everything else was read; a worker whose record it was is found by its mark",
    "version_acquitted": "no version was changed for it",
    "version_spent": "it is not served any more",
    "version_too_old": "it is not served any more",
    "bundle_accepted": "all sessions get it at their next load",
}
VERSION_NEWS: Final = frozenset(
    {
        *FLEET_STEPS,
        "version_acquitted",
        "version_spent",
        "version_too_old",
        "bundle_accepted",
    }
)
"""Entries of the fleet's audit log that are also events, beside the begin and end of outages."""
FLEET_BLAMES: Final = {
    "engine_away": Blame.NETWORK,
    "host_without_lease": Blame.NETWORK,
    "fleet_breaker_opened": Blame.SESSION,
    "network_down": Blame.NETWORK,
    "acks_missing_everywhere": Blame.WHATSAPP,
    "sends_throw_everywhere": Blame.WHATSAPP,
    "pages_restart_everywhere": Blame.WHATSAPP,
    "whatsapp_refuses": Blame.WHATSAPP,
    "version_held": Blame.WHATSAPP,
    "version_refused": Blame.WHATSAPP,
    "bundle_rolled_back": Blame.OPERATOR,
    "versions_lost": Blame.HOST,
    "restoring": Blame.OPERATOR,
    "webhooks_held": Blame.OPERATOR,
    "webhooks_down": Blame.OPERATOR,
    "webhooks_late": Blame.OPERATOR,
    "dead_letters": Blame.OPERATOR,
    "letters_uncertain": Blame.OPERATOR,
    "letters_stored": Blame.OPERATOR,
    "letters_undecryptable": Blame.WHATSAPP,
    "letters_restored": Blame.OPERATOR,
    "ratchets_rolled_back": Blame.OPERATOR,
    "stored_unknown": Blame.OPERATOR,
    "row_disputed": Blame.OPERATOR,
    "lease_held": Blame.OPERATOR,
    "standby": Blame.OPERATOR,
    "workers_unprotected": Blame.OPERATOR,
    "keys_unreadable": Blame.OPERATOR,
    "release_rolled_back": Blame.OPERATOR,
    "alerts_undeliverable": Blame.OPERATOR,
    "hosts_differ": Blame.OPERATOR,
    "database_unknown": Blame.OPERATOR,
    "database_unfit": Blame.OPERATOR,
}
"""The blame of each kind; all others are the host's."""
