"""Messages in the worker: received, read back, sent."""
