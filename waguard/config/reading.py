"""Reading the configuration: the TOML file, then the environment, checked key by key."""

import errno
import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import msgspec

from waguard.config.checks import cross_check
from waguard.config.errors import refused, unknown
from waguard.config.passwords import has_password
from waguard.config.placing import placed
from waguard.config.retired import RETIRED, line
from waguard.config.sections import SECTIONS, Config
from waguard.errors import ConfigError

ENV_PREFIX = "WAGUARD_"
# an address without a password, behind which a comment may name somebody@example
_WITH_PORT: Final = re.compile(r"://[^/:@\s]*:[0-9]{1,5}(?:/[^@:?\s\"']*+)?(?=[\s\"']|$)")
FILE_LIMIT: Final = 1 << 20  # bytes; the example has 10,000


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration, and what the file and the environment gave of it."""

    config: Config
    path: Path | None
    file: Mapping[str, Mapping[str, Any]]
    environment: Mapping[str, Mapping[str, Any]]
    retired: tuple[str, ...] = ()
    """A sentence for each key that has no effect any more."""


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Read ``path`` (none: defaults) and the environment.

    Raises ``ConfigError`` with the key, the value and what is allowed.
    """
    return read(path, environ).config


def read(
    path: Path | None, environ: Mapping[str, str], *, field: str | None = "--config"
) -> Reading:
    """As ``load``; ``field`` is what named the file, for errors about the file as a whole."""
    retired: list[str] = []
    file, base = _from_file(path, field, retired) if path else ({}, None)
    environment = _from_environment(environ, retired)
    config = placed((file, environment), base or _working_folder())
    cross_check(config)
    return Reading(
        config=config, path=path, file=file, environment=environment, retired=tuple(retired)
    )


def holds_password(path: Path) -> bool:
    """Whether an address in the file has one, also in a comment. ``load`` has read the file before."""
    text, _ = _content(path)
    return has_password(_WITH_PORT.sub("", text)) or any(
        map(has_password, _texts(tomllib.loads(text)))
    )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)


def _content(path: Path) -> tuple[str, Path | None]:
    """The text, and the folder that it lies in. A pipe is a file, too, and lies in none: a shell
    gives one for ``<(command)``. Raises ``OSError``, ``ValueError``."""
    with path.open("rb") as file:
        kind = os.fstat(file.fileno()).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind)):
            raise OSError(errno.EINVAL, "it is neither a file nor a pipe")
        content = file.read(FILE_LIMIT + 1)
    if len(content) > FILE_LIMIT:
        raise OSError(errno.EFBIG, f"it has more than {FILE_LIMIT} bytes")
    return content.decode(), path.absolute().parent if stat.S_ISREG(kind) else None


def _from_file(
    path: Path, field: str | None, retired: list[str]
) -> tuple[dict[str, dict[str, Any]], Path | None]:
    try:
        text, base = _content(path)
        document = tomllib.loads(text)
    except OSError as error:
        denied = isinstance(error, PermissionError)
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}",
            field=field,
            value=str(path),
            remedy="run this as root, or as the daemon's user"
            if denied
            else "name a readable TOML file: --config FILE",
        ) from None
    except (ValueError, RecursionError) as error:  # syntax, encoding, endless numbers or nesting
        raise ConfigError(
            f"{path} is not TOML: {error}",
            field=field,
            value=str(path),
            remedy="see etc/waguard.toml",
        ) from None
    checked: dict[str, dict[str, Any]] = {}
    for section, keys in document.items():
        if section not in SECTIONS:
            raise unknown(section, keys, SECTIONS, "section")
        if not isinstance(keys, dict):
            raise refused(section, keys, "it is a section", f"write [{section}] on its own line")
        checked[section] = {
            key: _value(section, key, value, strict=True)
            for key, value in keys.items()
            if not _is_retired(f"{section}.{key}", f"{section}.{key} of {path}", retired)
        }
    return checked, base


def _from_environment(environ: Mapping[str, str], retired: list[str]) -> dict[str, dict[str, Any]]:
    given: dict[str, dict[str, Any]] = {}
    for name, text in environ.items():
        section, separator, key = name.removeprefix(ENV_PREFIX).partition("__")
        if not name.startswith(ENV_PREFIX):
            continue
        if not separator:
            _refuse_single_underscore(name)
            continue
        section, key = section.lower(), key.lower()
        if section not in SECTIONS:
            raise unknown(name, text, (f"{ENV_PREFIX}{s.upper()}__…" for s in SECTIONS), "key")
        if not _is_retired(f"{section}.{key}", name, retired):
            given.setdefault(section, {})[key] = _value(section, key, text, strict=False)
    return given


def _is_retired(key: str, name: str, retired: list[str]) -> bool:
    if key not in RETIRED:
        return False
    retired.append(line(name, key))
    return True


def _refuse_single_underscore(name: str) -> None:
    """``WAGUARD_API_PORT`` would be a setting that silently does nothing."""
    section, _, key = name.removeprefix(ENV_PREFIX).partition("_")
    if section.lower() in SECTIONS and key:
        raise ConfigError(
            "unknown variable",
            field=name,
            remedy=f"two underscores after the section: {ENV_PREFIX}{section}__{key}",
        )


def _value(section: str, key: str, value: Any, *, strict: bool) -> Any:
    fields = {field.name: field for field in msgspec.structs.fields(SECTIONS[section])}
    name = f"{section}.{key}"
    if key not in fields:
        raise unknown(name, value, (f"{section}.{known}" for known in fields), "key")
    wanted = fields[key].type
    try:
        if not strict and get_origin(wanted) is tuple:
            value = msgspec.json.decode(value)
        if not strict and value == "" and fields[key].default is None:
            return None
        converted = msgspec.convert(value, wanted, strict=strict, dec_hook=_path)
        _check_text(converted)
    except (ValueError, RecursionError) as error:  # msgspec's own errors are ValueErrors
        choices = ", ".join(map(repr, _choices(wanted)))
        why = f"it has to be one of {choices}" if choices else str(error)
        remedy = "etc/waguard.toml lists every key with its default"
        raise refused(name, value, why, remedy) from None
    return converted


def _choices(wanted: Any) -> tuple[str, ...]:
    """The values that a key has to be one of; empty: there are others."""
    return get_args(wanted) if get_origin(wanted) is Literal else ()


def _path(wanted: type, value: Any) -> Any:
    if wanted is Path and isinstance(value, str) and value:
        return Path(value)
    raise msgspec.ValidationError("Expected a path")


def _check_text(value: Any) -> None:
    """No system call takes a NUL; only a path may be something else than UTF-8."""
    for text in value if isinstance(value, tuple) else (value,):
        if isinstance(text, str | Path) and "\0" in str(text):
            raise ValueError("it holds a NUL character")
        if isinstance(text, str):
            text.encode()  # a byte of the environment that is no UTF-8 fails here


def _working_folder() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        raise ConfigError(
            f"the working folder cannot be used: {error.strerror}",
            field="paths",
            remedy="start waguard in a folder that exists",
        ) from None
