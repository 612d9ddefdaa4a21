"""What no log may show: full phone numbers, QR codes, and known secrets. Pure."""

import re
from collections.abc import Iterable
from typing import Final

HIDDEN: Final = "[hidden]"
_SHORT: Final = 8  # digits; a longer number has more of them shown
_SECRET_LENGTH: Final = 6  # characters; a shorter one is part of many words
# ten digits may also be a time, and are shortened too. Digits in a hexadecimal id are not a number, and neither is a
# version of WhatsApp Web: the omitted digits are those in which two versions differ
_NUMBER: Final = re.compile(
    r"(?<![0-9A-Za-z.-])(?<!WhatsApp Web )(?<!version )(?<!versions from )(?:\+[0-9]{1,3}(?:[ -][0-9]{2,5}){2,4}|\+?[0-9]{8,15}(?!-[0-9a-f]{4}-))(?![0-9A-Za-z])"
)
_CODE: Final = re.compile(r"[0-9]@[A-Za-z0-9+/=_,-]{20,}")
# an issued key, of which no more than a digest is known, or most of one
_ISSUED: Final = re.compile(r"(wg_[0-9a-f]{8})_[A-Za-z0-9_-]{8,}")
# a name or a path is shorter, or has no spaces in it
_QUOTED: Final = re.compile(r"""(['"])(?=[^'"]*\s)(?:(?!\1).){25,}\1""", re.DOTALL)
_DETAIL: Final = "\nDETAIL:"  # PostgreSQL: the whole row
_DIGIT: Final = re.compile("[0-9]").search  # what most lines do not have
_LONG: Final = re.compile("[0-9]{8}").search


class Redaction:
    """Hides secrets that it knows by their text."""

    def __init__(self) -> None:
        self._secrets: tuple[str, ...] = ()

    def hide(self, secrets: Iterable[str]) -> None:
        """Never show these from now on."""
        known = {*self._secrets, *(one for one in secrets if len(one) >= _SECRET_LENGTH)}
        self._secrets = tuple(sorted(known, key=len, reverse=True))  # one may be part of another

    def of(self, text: str) -> str:
        """``text`` without secrets, phone numbers and QR codes."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        if "wg_" in text:
            text = _ISSUED.sub(rf"\1_{HIDDEN}", text)
        return shorten(text) if _DIGIT(text) else text

    def of_exception(self, text: str) -> str:
        """As ``of``, for the text of an exception, also without quoted input: databases and parsers quote it."""
        return self.of(_QUOTED.sub(rf"\1{HIDDEN}\1", text.partition(_DETAIL)[0]))


def shorten(text: str) -> str:
    """``text`` with its phone numbers shortened, and without QR codes."""
    if not (_LONG(text) or "@" in text or "+" in text):
        return text
    return _NUMBER.sub(_shortened, _CODE.sub(HIDDEN, text))


def _shortened(found: re.Match[str]) -> str:
    """Enough digits to distinguish two numbers."""
    plus, digits = "+" * found[0].startswith("+"), re.sub("[^0-9]", "", found[0])
    first, last = (5, 3) if len(digits) > _SHORT else (3, 2)
    return f"{plus}{digits[:first]}…{digits[-last:]}"
