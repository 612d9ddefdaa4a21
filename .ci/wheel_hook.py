"""Puts the pinned scripts where the wheel packs them, and refuses to build a wheel without them."""

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WAJS = Path("waguard/wajs/node_modules/@wppconnect/wa-js/dist/wppconnect-wa.js")
SHA256 = "5bfb88027f14a4d8c9e319374e8bb4083201906881cf8c74f75789b32e4106bd"
SWAGGER = Path("waguard/api/swagger/node_modules/swagger-ui-dist/swagger-ui-bundle.js")
SWAGGER_SHA256 = "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2"
UPLOT = Path("waguard/api/swagger/node_modules/uplot/dist/uPlot.esm.js")
UPLOT_SHA256 = "5dd9b3281aa64b461b42d9945f6adb2649d346502b12281a9ae0d46599a80eba"


class PinnedBundle(BuildHookInterface[Any]):
    """Runs before the files of the wheel are collected."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """``version`` is "editable" for ``pip install -e``, which packs nothing."""
        del build_data
        if version != "editable":
            self._require(WAJS, SHA256)
            self._require(SWAGGER, SWAGGER_SHA256)
            self._require(UPLOT, UPLOT_SHA256)

    def _require(self, file: Path, sha256: str) -> None:
        script = Path(self.root) / file
        package = file.parents[len(file.parts) - file.parts.index("node_modules") - 1]
        if not script.is_file() and (npm := shutil.which("npm")):
            command = [npm, "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]
            subprocess.run(command, cwd=Path(self.root) / package, check=True)
        if not script.is_file():
            raise SystemExit(f"{file} is missing: install npm, or run `make setup` first")
        if hashlib.sha256(script.read_bytes()).hexdigest() != sha256:
            raise SystemExit(
                f"{file} is not the pinned build (sha256 {sha256}): run `npm ci` in {package}"
            )
