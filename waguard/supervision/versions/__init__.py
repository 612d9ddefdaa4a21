"""WhatsApp's versions in the shell: what is decided is performed, pages are observed, operators ask."""
