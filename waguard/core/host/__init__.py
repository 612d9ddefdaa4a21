"""Decisions about this host: disk, memory, processes, unit. Pure."""
