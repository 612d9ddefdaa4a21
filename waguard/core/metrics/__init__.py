"""Metrics: which there are, what is counted between two scrapes, what a session's states add to them. Pure."""
