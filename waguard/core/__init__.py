"""Decisions: no clock, no chance, no I/O, nothing that awaits."""
