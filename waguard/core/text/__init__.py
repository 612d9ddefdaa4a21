"""Text: what is read from it, what is written, what is redacted. Pure."""
