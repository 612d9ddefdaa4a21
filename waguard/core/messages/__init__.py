"""Decisions about messages, people and chats. Pure."""
