"""``replace(value, field=…)``: a changed copy of a frozen struct.

mypy checks its fields as those of ``copy.replace``; at run time it is msgspec's, which takes 0.1 µs where
that of a dataclass takes 3.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from copy import replace
else:
    from msgspec.structs import replace

__all__ = ["replace"]
