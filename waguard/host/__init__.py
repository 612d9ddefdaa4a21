"""This machine: processes, locks, /proc, systemd, network, resources."""
