"""All sessions in the shell: brought up, counted, corrected; the lease, the disks, the database."""
