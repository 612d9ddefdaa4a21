"""WhatsApp's page: loaded, asked, read."""
