"""From the audit log to incidents. Pure."""
