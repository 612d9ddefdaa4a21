"""Saving an installation in one archive, and restoring it on another host; ``core/backup_contents.py`` decides."""
