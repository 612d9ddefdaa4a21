"""The way of a message: outbox, inbox, webhooks."""
