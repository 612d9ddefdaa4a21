"""Conditions that a person must act on, as messages to wherever that person is. Pure."""
