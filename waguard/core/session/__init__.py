"""Decisions about one session. Pure."""
