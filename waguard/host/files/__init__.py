"""Files and folders: whose they are, locked, moved, private."""
