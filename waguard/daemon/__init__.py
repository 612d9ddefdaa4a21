"""The composition root: ``root.py`` puts everything together and decides nothing; beside it what it
does itself: reload, housekeeping, the runtime folder, the road from the bus to the inbox."""
