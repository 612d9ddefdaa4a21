"""What is asked, and of whom. Nothing here changes anything, or takes a lock that a daemon wants."""
