"""Decisions about the delivery of webhooks. Pure."""
