"""What to do about each condition: sentences that name a command, and the API call behind it. Pure.

A command is in backticks, and works in the state in which it is shown. ``{s}`` is the session.
"""

from typing import Final

from waguard.core.host.admission import Cause
from waguard.core.link import Link
from waguard.core.page_care import Kind
from waguard.core.passkey_link import PasskeyStage
from waguard.core.row_status import ParkCause

_UNKNOWN: Final = {
    "s": "NAME",
    "n": "NUMBER",
    "chat": "LID",
    "wajs": "SHA256",
    "at": "`paths.sessions`",
}
"""Placeholders for values that are not known."""

_WHY: Final = "`waguard why {s}` shows what waguard did"
_RESTART: Final = "`waguard sessions restart {s}` (POST /api/sessions/{s}/reconnect)"
_START: Final = "`waguard sessions start {s}` (POST /api/sessions/{s}/start)"
_QR: Final = "`waguard qr {s}` (GET /api/sessions/{s}/qr)"
_NEW_QR: Final = "`waguard qr {s} --new` (POST /api/sessions/{s}/regenerate-qr)"
_SCREENSHOT: Final = "`waguard sessions screenshot {s}` (GET /api/sessions/{s}/screenshot)"
_LOGOUT: Final = "`waguard sessions logout {s}` (POST /api/sessions/{s}/logout)"
_DOCTOR: Final = "`waguard doctor`"
_MORE_MEMORY: Final = (
    "Give the host more memory, or stop another session: `waguard sessions stop NAME`"
    " (POST /api/sessions/NAME/stop). This one starts by itself."
)

RETRIED: Final = f"Nothing to do: waguard tries it again by itself. {_RESTART} tries it now."
STARTING: Final = "Nothing to do: it is starting. `waguard status` shows how far it is."
NOT_STARTED: Final = f"{_START} starts it now; waguard itself tries it at `reconcile.interval`."
UNRESPONSIVE: Final = f"Nothing to do: waguard replaces its worker if it does not answer again. {_RESTART} replaces it now."
FAULT: Final = f"This is a bug in waguard: report it with the lines of its log. {_RESTART} starts a new worker."
ACKS_LATE: Final = (
    "Nothing to do: WhatsApp Web sends by itself what has no ack, and waguard replaces the worker where"
    f" that may help. {_WHY}."
)

SENDS_THROW: Final = (
    "waguard replaces the worker once. Where that does not help, WhatsApp Web has changed: waguard goes back to an"
    " older version where one is known to work; `waguard versions list` shows them. Else add a newer wa-js,"
    f" `waguard wajs add FILE --sha256 HEX`, or name it in `whatsapp.wajs`, then {_RESTART}. What was refused is not sent again: `waguard messages list"
    " --session {s}` shows it."
)

HELD_OF_DELETED: Final = (
    "The session is deleted: what it received waits. `waguard sessions start {s}` brings it back, and a scan by the same"
    " number delivers it; `waguard webhooks drop {s}` makes dead letters of it (POST /api/webhooks/held/discard)."
)

WEBHOOKS_UNREAD: Final = "`systemctl restart waguard`: it reads all of them from the database, and delivers them. Report it with what `waguard logs --level ERROR` shows."

DEAF: Final = (
    "Nothing to do: what comes is read from its chats, some minutes late, and waguard tries an older version where"
    f" one is known to work; `waguard versions list` shows them. {_RESTART} loads the page again."
)

SENTINEL: Final = (
    "Nothing to do where another condition of the session says what is wrong: waguard acts on that one. Else load its page"
    f" again: {_RESTART}. {_SCREENSHOT} shows its page."
)

DOWN: Final = f"{_START}; where it needs a scan then, {_QR} shows the code."
LEFT: Final = f"{_START}, then scan the code that {_QR} shows."
NEW_CODE: Final = f"{_NEW_QR} starts it and shows a new code."

PARKED: Final = {
    ParkCause.RESTART_BUDGET: f"waguard tries it again at growing intervals. {_RESTART} tries it now.",
    ParkCause.CONFLICT: f"Close WhatsApp Web where it is open with this device, then {_RESTART}.",
    ParkCause.BLOCKED: "The phone shows what WhatsApp wants; a restart does not help before that. Then"
    f" {_RESTART}.",
    ParkCause.NEEDS_UPDATE: f"Update waguard, or name a newer wa-js in `whatsapp.wajs`, then {_RESTART}.",
    ParkCause.QR_EXPIRED: f"{_NEW_QR} shows a new code.",
    ParkCause.PROFILE_MISSING: "Restore it, where there is a snapshot: `waguard profile restore {s}`,"
    f" then {_RESTART}. Else pair it again: {_NEW_QR}.",
    ParkCause.PAGE_FLOODS: "Its page does what WhatsApp's page does not. `waguard sessions show {s}` has its version"
    f" and its wa-js: check where both come from, and who has used the profile, then {_RESTART}.",
}
"""By why the session waits for a person."""

STARTS: Final = {
    Cause.PLACE: "Nothing to do: it starts when one of the others is up. `restore.concurrency` says how"
    " many start at a time. `waguard status` shows them.",
    Cause.FLEET: "Remove the common cause; one is tried at intervals by itself."
    f" {_RESTART} tries this one now.",
    Cause.EXECUTABLE: "Install Chromium, or set `browser.executable`; the session starts by itself."
    f" {_DOCTOR} starts it once and says what is wrong.",
    Cause.SESSIONS_FOLDER: "Mount the disk of `paths.sessions`; the session starts by itself."
    f" {_DOCTOR} checks the folder.",
    Cause.DISK: "Make the disk writable, with room on it; the session starts by itself."
    f" {_DOCTOR} checks the disks.",
    Cause.BROWSER_HANGS: "See what Chromium waits for (a disk that does not answer, a script around it), or set"
    f" `browser.executable`; the session starts by itself. {_DOCTOR} starts it once.",
    Cause.SANDBOX: "Allow user namespaces to waguard's user; the session starts by itself."
    f" {_DOCTOR} names the setting of the kernel.",
    Cause.LEASE: "See that the database of `database.url` runs and can be reached; the session starts when the"
    f" lease is renewed. {_DOCTOR} asks it.",
    Cause.MEMORY: _MORE_MEMORY,
    Cause.PRESSURE: _MORE_MEMORY,
    Cause.PIDS: "Raise the limit of processes (`TasksMax=` of the unit); the session starts by itself."
    f" {_DOCTOR} shows the limits.",
    Cause.TURN: RETRIED,
    Cause.WHATSAPP: RETRIED,
}
"""By what a session waits for."""

FAILED: Final = {
    "disk_full": "Free space on the disk of {at}; the session starts by itself."
    f" {_DOCTOR} shows what is left.",
    "inodes_full": "Delete files that are not needed on the disk of {at}; the session starts by itself."
    f" {_DOCTOR} shows how many inodes are left.",
    "disk_read_only": "See in the kernel's log why the disk of {at} is read-only, repair it, and mount it to be"
    f" written; the session starts by itself. {_DOCTOR} checks the disks.",
    "disk_unwritable": "Let waguard's user write {at}: see its owner, quota and disk; the session starts by itself."
    f" {_DOCTOR} checks the folder.",
    "disk_silent": "See why the disk of {at} does not answer (a network disk whose server is away?); the session"
    f" starts by itself. {_DOCTOR} checks the disks.",
    "pids_short": STARTS[Cause.PIDS],
    "descriptors_short": "Raise the limit of open files (`LimitNOFILE=` of the unit, `fs.file-max` of the kernel);"
    f" the session starts by itself. {_DOCTOR} shows the limits.",
    "sandbox_missing": STARTS[Cause.SANDBOX],
    "browser_hangs": STARTS[Cause.BROWSER_HANGS],
    "browser_unusable": STARTS[Cause.EXECUTABLE],
    "proxy_unreadable": "Set the session's proxy again, `waguard sessions proxy {s} --set SERVER` (PUT"
    " /api/sessions/{s}/proxy), or let waguard's user read {at}; the session starts by itself, and never without it. Hosts with the same"
    " `database.key_file` share it.",
    "credentials_unreadable": "Give this host the `database.key_file` of the other one, and restart waguard; the session starts by"
    " itself. Where the other host's credentials are lost for good: docs/standby.md says how to scan a new code.",
    "profile_newer": "Decide whose is used; the session starts by itself. This host's: delete the session's row of"
    " `waguard_credentials`. What is shared: move the session's folder out of `paths.sessions`.",
    "credentials_unknown": "See that the database of `database.url` runs and can be reached; the session starts by itself."
    f" {_DOCTOR} asks it.",
    "profile_held": "Remove what the message names: a full disk, a file that cannot be read, a snapshot whose disk is not"
    " mounted; the session starts by itself. `waguard profile verify {s}` reads its profile and its snapshots.",
    "profile_unreadable": "See in the kernel's log whether the disk of {at} fails, and let waguard's user use that folder; waguard tries"
    " it again each 10 s. `waguard profile verify {s}` reads the profile and its snapshots.",
    "profile_not_mounted": f"Mount the disk that the message names; the session starts by itself. {_DOCTOR} checks the profiles.",
    "old_profile_in_use": "Stop the old service, or what else uses the old profile that the message names; the session starts"
    " by itself. `waguard doctor --cutover` shows what is left of the old service.",
    "runtime_unusable": "Let waguard's user write `paths.runtime`; the session starts by itself."
    f" {_DOCTOR} checks the folder.",
    "spawn_failed": "Remove the cause that the message names; waguard tries it again each 10 s. `waguard logs --session {s} --level"
    f" ERROR` has the details, {_DOCTOR} checks the host.",
    "exports_missing": "Where an older version of WhatsApp Web works, waguard takes it by itself; `waguard versions list` shows them"
    " (GET /api/versions). Else add a newer wa-js, `waguard wajs add FILE --sha256 HEX`, or name it in `whatsapp.wajs`; the session"
    " starts by itself.",
    "profile_locked": f"End the process that uses the profile; the session starts by itself. {_WHY}.",
}
"""By the reason why its last worker ended; all others: ``RETRIED``."""

PORTAL: Final = (
    "Log in to this host's network, where it has a captive portal, or have the proxy let WhatsApp Web through; the"
    f" session connects by itself. {_DOCTOR} tries the network."
)

PROXY: Final = (
    "See that the session's proxy runs, and that its login and its rules are as they should be; the session connects by"
    " itself. `waguard sessions proxy {s}` shows it, and sets another one (PUT /api/sessions/{s}/proxy)."
)

LINKS: Final = {
    Link.QR_PENDING: f"{_QR} shows the code to scan.",
    Link.LOGGED_OUT: f"{_QR} shows the code to scan, as soon as the page has one.",
    Link.OFFLINE: f"Nothing to do: it reconnects by itself. {_WHY}.",
    Link.SYNCING: f"Nothing to do: it ends by itself. {_WHY}.",
    Link.PAIRING: f"Nothing to do: it ends by itself. {_WHY}.",
    Link.UNKNOWN: RETRIED,
    Link.CONFLICT: f"Close WhatsApp Web where it is open with this device, then {_RESTART}.",
    Link.BLOCKED: PARKED[ParkCause.BLOCKED],
    Link.NEEDS_UPDATE: PARKED[ParkCause.NEEDS_UPDATE],
    Link.PASSKEY_REQUIRED: f"Whoever has the account's passkey can go on; {_QR} shows for how long, and the next code.",
}
"""By the state of its link to WhatsApp, where that is not connected."""

_PASSKEY: Final = "`waguard passkey {s}` at a desk of the account's owner, or on the status page"
_AGAIN: Final = f"To begin again with another code: {_NEW_QR}"
PASSKEY: Final = {
    PasskeyStage.OFFERED: f"Sign it in that time, {_PASSKEY}. {_AGAIN}.",
    PasskeyStage.ASKED: f"Sign it, {_PASSKEY}; the page is not loaded again meanwhile.",
    PasskeyStage.ANSWERED: "Keep WhatsApp open on the phone, and do there what it asks for.",
    PasskeyStage.CONFIRM: "Compare the code with the phone's, and confirm it only where both are the same:"
    " `waguard passkey {s} --confirm CODE`, or on the status page.",
    PasskeyStage.FAILED: f"Keep WhatsApp open on the phone, and start it again in that time, {_PASSKEY}. {_AGAIN}.",
}
"""By the stage of a linking that needs the account's passkey."""

PAGE: Final = {
    Kind.PASSKEY_REQUIRED: f"Whoever has the account's passkey can go on; {_QR} shows for how long. {_AGAIN}.",
    Kind.UPDATE_PERSISTS: "The session goes on working. Check for a newer wa-js (`whatsapp.wajs`), and see the page:"
    f" {_SCREENSHOT}.",
    Kind.LINK_STUCK: "Check the phone: is it online, and is this device still among its linked devices?"
    f" Then {_RESTART}. Do not log it out: a new pairing may need the account's passkey.",
    Kind.ACKS_IN_VAIN: "Check the phone: does it send messages? Write to a chat in which somebody has answered:"
    " where that is acknowledged, WhatsApp drops first contacts, and no new code helps. Only where nothing"
    f" else helps, decide to log the session out, {_LOGOUT}, and to scan a new code, {_NEW_QR}; waguard never does.",
    Kind.MEMORY_IN_VAIN: "Raise `worker.memory_limit`, or give the host more memory: the account needs it."
    " `waguard config show` shows the limit.",
    Kind.ACTION_REQUIRED: f"See its page, {_SCREENSHOT}, and confirm it on the phone where WhatsApp"
    " asks there.",
    Kind.WHATSAPP_REFUSES: "Nothing on this host ends it, and waguard tries again by itself. See whether WhatsApp"
    " Web works in a browser, from this host and from another one. `waguard status` shows who waits.",
    Kind.UNDECRYPTABLE: "Open WhatsApp on the account's phone and keep it online: the phone sends such a"
    " message again. After 14 days it is a dead letter: `waguard webhooks list --state undecryptable`"
    " (GET /api/webhooks/dead?state=undecryptable).",
    Kind.PAGE_RESTARTS: "waguard replaces its worker once, then tries it again at growing intervals. See what its page"
    f" shows: {_SCREENSHOT}. {_RESTART} begins a new count.",
    Kind.FIRST_CONTACTS_PAUSED: "Chats in which somebody has answered go on. Write to nobody new until"
    " then, and to fewer people after it; whoever writes to you first can be answered at once. `waguard"
    " messages list --session {s}` shows what was not sent.",
    Kind.PAGE_FLOODS: f"See its page, {_SCREENSHOT}; waguard parks the session where it goes on. {_RESTART} loads"
    " the page again.",
}
"""By what a page or the messages of a session show."""

SIGN_AGAIN: Final = (
    "The page still waits. Sign the same request again on https://web.whatsapp.com, with the passkey of the account that"
    " is to be linked: `waguard passkey {s}`, or on the status page."
)
START_AGAIN: Final = "Start again, `waguard passkey {s}` or POST /api/sessions/{s}/passkey/start, and answer the request of that reply."
COMPARE_CODES: Final = (
    "Compare the codes on the phone and on the page, and send the one that both show: `waguard passkey {s} --confirm CODE`."
    " Where they differ, end the linking on the phone."
)

_LIST: Final = "`waguard webhooks list` shows them (GET /api/webhooks/dead)"
FLEET: Final = {
    "restoring": "Nothing to do: it ends by itself. `waguard status` shows how far it is.",
    "begin_failed": f"Repair what the message names; waguard tries again by itself every few seconds. {_DOCTOR} checks the host.",
    "fleet_breaker_opened": "Remove the common cause; one of them is tried at intervals by"
    " itself. `waguard status` shows which are up again.",
    "network_down": "Check this host's Internet connection; the sessions reconnect by themselves."
    f" {_DOCTOR} tries it.",
    "acks_missing_everywhere": "Nothing on this host ends it: WhatsApp acknowledges nothing that is sent. Send"
    " nothing twice. `waguard messages list --state uncertain` shows what is not acknowledged.",
    "sends_throw_everywhere": "WhatsApp Web has changed: name a newer wa-js in `whatsapp.wajs`, then `waguard"
    " sessions restart --all`. What was refused is not sent again: `waguard messages list` shows it.",
    "pages_restart_everywhere": "WhatsApp Web has changed, and no restart helps. waguard tries by itself whether an older"
    " version stays, and gives it to all if so. `waguard versions list` shows what was tried and the versions that worked"
    " (GET /api/versions); `waguard versions pin {n}` serves one to all at once (POST /api/versions/pin).",
    "database_down": "See that the database of `database.url` runs and can be reached; waguard connects by"
    f" itself. {_DOCTOR} asks it.",
    "database_unknown": "Put the database back where `database.url` names it, mount its disk, or correct `database.url` and"
    " restart waguard; the sessions go on by themselves. Where this database is meant: `waguard database accept`"
    " (POST /api/database/accept). With several hosts, where it is about etcd: correct `cluster.endpoints`; where etcd was"
    " replaced, end waguard on all other hosts, then accept it here.",
    "database_unfit": "Put back the table, the column or the right that is missing; waguard goes on by itself. After a dump of an"
    f" older waguard was restored: `systemctl restart waguard` migrates the database. {_DOCTOR} asks it.",
    "database_behind": "Check why the database of `database.url` is slow or unreachable, or what it refuses: `why` of"
    f" `writes_wait` in the log. What waits is stored by itself. {_DOCTOR} asks it.",
    "disk_low": f"Free some space there, or lower `limits.disk_reserve`. {_DOCTOR} checks the disks.",
    "browser_missing": "Install Chromium, or set `browser.executable`; the sessions start by themselves."
    f" {_DOCTOR} starts it once and says what is wrong.",
    "browser_hangs": "See what Chromium waits for (a disk that does not answer, a script around it), or set"
    f" `browser.executable`; the sessions start by themselves. {_DOCTOR} starts it once.",
    "sandbox_missing": "Allow user namespaces to waguard's user; the sessions start by themselves."
    f" {_DOCTOR} names the setting of the kernel.",
    "browser_outdated": "Nothing to do: one idle session at a time gets the installed one. `waguard sessions restart NAME`"
    " (POST /api/sessions/NAME/reconnect) replaces a busy one now.",
    "browser_update_failed": "Install a Chromium that works, the one before or a newer one, or set `browser.executable`;"
    " waguard tries it by itself. A new time of modification (`touch`, as root) has the same one tried again."
    f" {_DOCTOR} starts it once and says what is wrong.",
    "disk_unusable": f"Make the disk writable, with room on it; the sessions start by themselves. {_DOCTOR} checks the"
    " disks.",
    "sessions_folder_missing": "Mount the disk of `paths.sessions`; the sessions start by themselves."
    f" {_DOCTOR} checks the folder.",
    "runtime_removed": "Find out who removes it: possibly a second unit with the same `RuntimeDirectory=`."
    f" {_DOCTOR} checks the folder.",
    "release_rolled_back": "`waguard logs --level ERROR` has what the newer release reported. When the cause is removed, `dpkg-reconfigure"
    " waguard` tries it again; the next release takes its place.",
    "task_hangs": f"See which disk or server does not answer: {_DOCTOR} asks them. Where all do, `systemctl restart waguard`:"
    " the sessions stay connected.",
    "whatsapp_refuses": "See whether WhatsApp Web opens in a browser here; the sessions go on by"
    " themselves. `waguard status` shows who waits.",
    "version_held": "Nothing to do: canaries try newer versions by themselves. `waguard versions list` shows"
    " them (GET /api/versions); `waguard versions try` tries the newest one now (POST /api/versions/try).",
    "version_refused": "Check for a newer waguard, or a newer wa-js: `waguard wajs list` shows what is used"
    " (GET /api/wajs). `waguard versions try` tries again what WhatsApp serves (POST /api/versions/try).",
    "bundle_rolled_back": "`waguard wajs list` shows it (GET /api/wajs). To try it once more: `waguard wajs"
    " use {wajs}` (POST /api/wajs/use); else remove its file from `wajs` below `paths.state`.",
    "versions_lost": 'Look for `"pin":` in the damaged file, which the message names. Where a version was pinned, `waguard'
    " versions pin {n}` does so again (POST /api/versions/pin); else `waguard versions unpin` ends this (POST"
    " /api/versions/unpin). What was held is found out anew.",
    "lease_held": "Let one waguard use a database: stop the other one, or give this one its own with"
    f" `database.url`. {_DOCTOR} names the other one.",
    "standby": "Nothing to do: this waguard takes over by itself. `waguard doctor` names the other one.",
    "events_left_behind": "In a cluster they are handed to the session's owner by themselves: start it, or upgrade it. Else"
    " read these chats of that time on the phones. What lies in `workers/*.unstored` of that host's"
    " runtime folder can be delivered from here: stop this waguard, copy the files into `workers` of its `paths.runtime`, start it. `waguard why` names them.",
    "workers_unprotected": "`waguard sessions restart NAME` (POST /api/sessions/NAME/reconnect) replaces the worker of each; waguard"
    " itself does so at their next restart.",
    "engine_away": "See whether the engine of `[cluster]` (etcd, or the database) runs and can be reached from this host. `waguard hosts`"
    " shows which hosts have their leases; sessions start again by themselves with this one's.",
    "host_without_lease": "The condition `engine_away` says why where the engine is away. `waguard hosts` shows this host's lease; its"
    " sessions start again by themselves with it.",
    "host_missing": "Start waguard on these hosts, which `waguard hosts` shows. One that is gone for good: `waguard hosts forget HOST`"
    " (DELETE /api/hosts/HOST).",
    "no_room": "Start another host, give one more memory, raise `cluster.max_sessions`, or `waguard drain --end` on one that is drained;"
    " `waguard hosts` shows the room of each. The sessions start by themselves.",
    "credentials_not_shared": "They are shared again by themselves when the cause has ended; `waguard profile verify NAME` reads the"
    " profile of each. Above 128 MB a session moves only in order: `systemctl stop waguard` here, copy its profile, then let the"
    " other host take over.",
    "keys_unreadable": "Put back a copy of `keys.json` below `paths.state`, or move the file away; then `systemctl reload waguard`."
    " `waguard keys create NAME --right read` makes new keys. Keys of `api.key_file` are accepted all the same.",
    "alerts_undeliverable": "`waguard alerts test` sends a test to each destination and shows its answer. Correct the line in"
    " `alerts.destination_file`, then `systemctl reload waguard`; waguard tries it again by itself.",
    "hosts_differ": "Upgrade all hosts to the same waguard, one after the other, and set what the message names alike on each; `waguard"
    " config show` shows a host's. Then `systemctl reload waguard` there; `[cluster]` needs `systemctl restart waguard`. Another"
    " wa-js: `waguard wajs list`.",
    "webhooks_down": "Repair the receiver; waguard tries it at least once a minute and loses nothing"
    f" within `webhook.give_up_after`. {_DOCTOR} asks it.",
    "webhooks_late": "See why the receiver takes so long or refuses these; waguard goes on by itself."
    f" {_DOCTOR} asks it.",
    "dead_letters": f"{_LIST}. Repair what the receiver refused, then `waguard webhooks replay --all`"
    " delivers them again (POST /api/webhooks/dead/replay).",
    "letters_uncertain": "`waguard webhooks list --state uncertain` shows them (GET"
    " /api/webhooks/dead?state=uncertain). See whether the application has it, then `waguard webhooks"
    " replay {n}` (POST /api/webhooks/dead/{n}/replay) or `waguard webhooks discard {n}` (DELETE"
    " /api/webhooks/dead/{n}).",
    "letters_stored": "`waguard webhooks list --state stored` shows them (GET"
    " /api/webhooks/dead?state=stored). Where the message has a file, see whether the application has it, then `waguard"
    " webhooks discard {n}` (DELETE /api/webhooks/dead/{n}); a replay would store a second row.",
    "letters_restored": "`waguard webhooks list --state restored` shows them (GET"
    " /api/webhooks/dead?state=restored). See what the application has, then `waguard release webhooks` delivers all of"
    " them (POST /api/restored/webhooks/release); `waguard webhooks discard {n}` (DELETE /api/webhooks/dead/{n}) deletes"
    " one.",
    "ratchets_rolled_back": "Messages to groups that were queued wait; others are refused. `waguard release groups` (POST"
    " /api/restored/groups/release) sends them: a member who cannot read the first ones asks for them again. A session that"
    " is paired anew by a scan has no older keys.",
    "letters_undecryptable": "`waguard webhooks list --state undecryptable` shows them (GET"
    " /api/webhooks/dead?state=undecryptable). Read the message on the phone, then `waguard webhooks"
    " discard {n}` (DELETE /api/webhooks/dead/{n}).",
    "webhooks_held": "Connect the session: its own condition says how. `waguard webhooks held` shows what"
    " waits (GET /api/webhooks/held); `waguard webhooks drop {s}` makes dead letters of it (POST"
    " /api/webhooks/held/discard).",
    "stored_unknown": f"{_DOCTOR} says what is missing: the table, the column, an index that begins with it,"
    " or the right to read it, and prints the GRANT. waguard tries it again at least once a minute. Without"
    " `webhook.stored` nothing is looked up.",
    "row_disputed": "Find out who writes it: `waguard why {s}` shows what its row said, and when. Mostly it is"
    " the application's queue, which works off old jobs: see that its workers run and keep up, and that no old"
    " service runs beside waguard (`waguard doctor --cutover`). The messages go on when the row was right for a"
    " minute.",
    "numbers_unknown": "`waguard webhooks unidentified` shows them (GET /api/webhooks/unidentified)."
    " `waguard webhooks replay --chat {s} {chat}` delivers what waits under the LID (POST"
    " /api/webhooks/unidentified/replay), `waguard webhooks discard --chat {s} {chat}` deletes it.",
}
"""By type of a condition: of all sessions at once, or of messages on their way."""

FINDINGS: Final = {
    "profile_without_row": "Create the session again to use it, `waguard sessions create {s}"
    " --workspace {w}` (POST /api/sessions), or quarantine it: `waguard profile quarantine {s}"
    " --workspace {w}`.",
    "same_phone": f"Log out the sessions that are not needed: {_LOGOUT}.",
    "runs_without_profile": f"When its phone is at hand, {_RESTART}, and scan the code that"
    f" {_QR} shows.",
}
"""By what the reconciler found and only a person can decide."""
PROFILE_ELSEWHERE: Final = "Quarantine it: `waguard profile quarantine {s} --workspace {w}`. The session has another profile."
PROFILE_IN_DOUBT: Final = (
    "See whose it is: the session of this name is in another workspace, where it has no profile. If it is the session's,"
    " put the session back into workspace {w}; else quarantine it: `waguard profile quarantine {s} --workspace {w}`."
)


def text(template: str, session: str | None = None, **values: object) -> str:
    """The remedy with this session and these values in it."""
    given = {"s": session, **values} if session else values
    for name, value in {**_UNKNOWN, **given}.items():
        template = template.replace(f"{{{name}}}", str(value))
    return template
