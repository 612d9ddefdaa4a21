"""Where the leases of several hosts are: etcd, or the database. Imported only where ``cluster.engine`` names one."""
