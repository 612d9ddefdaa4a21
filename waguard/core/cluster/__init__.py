"""Several hosts with one set of sessions: host leases, owners of sessions, placement. Pure."""
