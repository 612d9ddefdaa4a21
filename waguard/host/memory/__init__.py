"""What outlives the daemon in files of its own."""
