"""Credentials that hosts share through the database."""
