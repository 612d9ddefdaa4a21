"""Whether two addresses are the same place: loopback has several names."""

from urllib.parse import urlsplit


def is_local(url: str) -> bool:
    """Whether it names this machine by loopback."""
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


def same(url: str, public: str, port: int) -> bool:
    """Whether ``url`` is ``public``, or its ``port`` on loopback where that is local, too."""
    if url.rstrip("/") == public:
        return True
    try:
        return is_local(url) and is_local(public) and urlsplit(url).port == port
    except ValueError:
        return False
