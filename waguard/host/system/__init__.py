"""The machine and its services: systemd, journal, network, addresses, resources."""
