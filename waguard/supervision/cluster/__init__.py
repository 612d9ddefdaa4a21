"""Several hosts: the shell of this host's lease and of the sessions that it owns. Imported only with ``cluster.engine``."""
