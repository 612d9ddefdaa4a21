"""What WhatsApp's own words mean: why it unlinks or blocks a session, why it refuses a message. Pure.

Logout reasons are those of wa-js 4.7.0 (``LogoutReason``), blocks its stream modes, results its ``SendMsgResult``.
"""

from typing import Final

_MEANINGS: Final = {
    # blocks
    "TOS_BLOCK": "WhatsApp blocks this account: it says that the terms of service were broken",
    "SMB_TOS_BLOCK": "WhatsApp blocks this business account: it says that the terms of service were broken",
    "PROXYBLOCK": "WhatsApp refuses the address or the proxy of this host",
    "DEPRECATED_VERSION": "WhatsApp does not accept this version of WhatsApp Web any more",
    # results of a send
    "ERROR_NETWORK": "the page had no connection to WhatsApp",
    "ERROR_EXPIRED": "the message waited for too long in the page",
    "ERROR_CANCELLED": "the page cancelled the message",
    "ERROR_UPLOAD": "the file could not be uploaded",
    "ERROR_UNKNOWN": "the page or WhatsApp's server refused the message without a reason",
    # logouts
    "user_initiated": "this device was logged out here",
    "unknown_companion": "the phone removed this device",
    "account_locked": "WhatsApp locked the account",
    "md_opt_out": "the phone left linked devices",
    "primary_identity_key_change": "WhatsApp was installed again on the phone",
    "client_version_outdated": "this version of WhatsApp Web is too old",
    "storage_quota_exceeded": "the browser had no room left for its storage",
}


def in_words(word: str) -> str:
    """The meaning with WhatsApp's word behind it; the word alone where its meaning is not known."""
    meaning = _MEANINGS.get(word)
    return f"{meaning} ({word})" if meaning else word
