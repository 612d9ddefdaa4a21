"""Decisions about what concerns all sessions. Pure."""
