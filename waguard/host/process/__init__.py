"""Processes of this machine: started, found, ended."""
