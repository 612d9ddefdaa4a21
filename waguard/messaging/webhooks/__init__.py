"""Webhooks: queued for each endpoint, in order for each partition."""
