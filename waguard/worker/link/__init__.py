"""The worker's end of the way to the daemon."""
