"""Installation; python3-systemd, which a host may have, has the same name and comes later on the path."""
