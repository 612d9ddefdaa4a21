"""What Chromium stores in a profile and makes again by itself."""

import shutil
from pathlib import Path
from typing import Final

from waguard.core.profile.before_start import Free
from waguard.host.files import disk
from waguard.profile import chromium_lock
from waguard.profile.lock import NotHeldError, prove_held

CACHES: Final = (
    # web content, compiled code and shaders; all of it is made again
    "Default/Cache",
    "Default/Code Cache",
    "Default/DawnGraphiteCache",
    "Default/DawnWebGPUCache",
    "Default/GPUCache",
    "Default/Service Worker",
    "GPUPersistentCache",
    "GrShaderCache",
    "GraphiteDawnCache",
    "ShaderCache",
    "component_crx_cache",
)


def clean(profile: Path, lock: int, *, above: int) -> int:
    """Delete what Chromium makes again, when it weighs more than ``above`` bytes; what was freed.

    Credentials are not touched.
    """
    prove_held(profile, lock)
    if not isinstance(chromium_lock.owner(profile), Free):
        raise NotHeldError(f"{profile} is locked by Chromium", value=str(profile))
    caches = [
        path for name in CACHES if (path := profile / name).is_dir() and not path.is_symlink()
    ]
    size = sum(disk.size_of(path) for path in caches)
    if size <= above:
        return 0
    for path in caches:
        shutil.rmtree(path, ignore_errors=True)
    return size
