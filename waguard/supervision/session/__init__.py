"""One session in the shell: its worker, its status, its messages."""
