"""What a host of a cluster has of sessions that are other hosts' now, in words. Pure."""

from collections.abc import Collection, Mapping

_SHOWN = 5  # sessions


def left_behind_words(counts: Mapping[str, int], files: Collection[str]) -> str | None:
    """``counts``: events in memory by session; ``files``: the names of files that workers left. None: there is nothing."""
    if not counts and not files:
        return None
    names = sorted(counts)
    parts = [f"{counts[name]} of {name}" for name in names[:_SHOWN]]
    if rest := names[_SHOWN:]:
        parts.append(f"{sum(counts[name] for name in rest)} of {len(rest)} more sessions")
    if files:
        parts.append(
            f"those in {', '.join(sorted(files)[:_SHOWN])} ({len(files)} in all) below `workers`"
        )
    return (
        f"this host has events that are not stored, of sessions that other hosts own now: {'; '.join(parts)}."
        " They are stored when these sessions come back to this host"
    )
