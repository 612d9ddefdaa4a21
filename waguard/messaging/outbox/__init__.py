"""Sends: accepted, queued, dispatched, recovered."""
