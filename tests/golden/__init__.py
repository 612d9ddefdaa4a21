"""Golden files: what an earlier waguard wrote to disks and databases, and said to workers.

``kept/`` holds bytes that nobody changes by hand. Today's code reads them as what they were, and what it writes
itself has all that they have: so an upgrade loses nothing, and neither does its roll back.
``python -m tests.golden`` writes the files that are missing.
"""
