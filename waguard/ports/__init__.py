"""The seams: what supervision and the API need from the outside world, a file for each domain."""
