"""The composition root: ``root.py`` puts everything together and decides nothing. Beside it are the
daemon's own start, ticks, reload and end, and what it keeps from run to run."""
