"""What the system answers where this host, or this process, lacks descriptors or memory for a moment: it says nothing of
whom it was asked about. Stdlib only: ``procfs`` is read before anything heavy is imported."""

import errno
from typing import Final

_LACKING: Final = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def lacks(error: OSError) -> bool:
    """Whether it is such an answer."""
    return error.errno in _LACKING
