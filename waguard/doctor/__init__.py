"""``waguard doctor``: what is wrong on this host, and which command repairs it.

``probes`` ask the machine, the database and the daemon, and change nothing; ``checks`` says what
that means, and is pure; ``repair`` does what ``--fix`` may do. The daemon knows none of this.
"""
