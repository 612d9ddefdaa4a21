"""Phone numbers. Pure."""


def number_of(phone: str | None) -> str | None:
    """The digits of a phone number, however it is written; None: there are none."""
    return "".join(sign for sign in phone or "" if sign.isdigit()) or None
