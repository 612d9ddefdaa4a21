"""The shell of the sessions: it performs what the core decides."""
