"""What later versions of waguard change, for the tests of upgrades: by file, a text of this version and what takes its place."""

from collections.abc import Mapping

Changes = Mapping[str, tuple[str, str]]

NEVER_READY = "raise RuntimeError('broken on purpose')"
FAILS_AT_THE_RESTORE: Changes = {
    "waguard/supervision/fleet/restorer.py": (
        "    async def restore(\n",
        (
            f"    async def restore(self, *_: object, **__: object) -> str:\n        {NEVER_READY}\n\n"
            "    async def restored(\n"
        ),
    )
}
FAILS_BEFORE_IT_LISTENS: Changes = {
    "waguard/daemon/root.py": ("        self._signals.listen()\n", f"        {NEVER_READY}\n")
}
OTHER_KEY: Changes = {"waguard/config/sections.py": ("    rate: ", "    pace: ")}
ONE_KEY_MORE: Changes = {
    "waguard/config/sections.py": (
        "    rate: Rate = 0.0\n",
        "    rate: Rate = 0.0\n    pace: Rate = 0.0\n",
    )
}
ALL = (FAILS_AT_THE_RESTORE, FAILS_BEFORE_IT_LISTENS, OTHER_KEY, ONE_KEY_MORE)
