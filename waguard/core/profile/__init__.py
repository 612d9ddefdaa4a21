"""Decisions about profiles on disk. Pure."""
