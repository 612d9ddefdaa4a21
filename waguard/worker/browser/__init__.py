"""Chromium: its arguments, its process, its pipe, its pages."""
