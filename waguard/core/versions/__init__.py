"""Decisions about WhatsApp's versions and wa-js. Pure."""
