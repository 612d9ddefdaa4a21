"""Puts the pinned wa-js where the wheel packs it, and refuses to build a wheel without it."""

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUNDLE = Path("waguard/wajs/node_modules/@wppconnect/wa-js/dist/wppconnect-wa.js")
SHA256 = "5bfb88027f14a4d8c9e319374e8bb4083201906881cf8c74f75789b32e4106bd"


class PinnedBundle(BuildHookInterface[Any]):
    """Runs before the files of the wheel are collected."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """``version`` is "editable" for ``pip install -e``, which packs nothing."""
        del build_data
        bundle = Path(self.root) / BUNDLE
        if version == "editable":
            return
        if not bundle.is_file() and (npm := shutil.which("npm")):
            command = [npm, "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]
            subprocess.run(command, cwd=Path(self.root) / "waguard/wajs", check=True)
        if not bundle.is_file():
            raise SystemExit(f"{BUNDLE} is missing: install npm, or run `make setup` first")
        if hashlib.sha256(bundle.read_bytes()).hexdigest() != SHA256:
            raise SystemExit(
                f"{BUNDLE} is not the pinned build (sha256 {SHA256}): run `npm ci` in waguard/wajs"
            )
