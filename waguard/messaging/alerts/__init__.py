"""Alerts on their way to a person: destinations, requests, the child process that sends mail."""
