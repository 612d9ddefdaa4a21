"""Keeps WhatsApp Web sessions alive."""

__version__ = "0.1.0"
