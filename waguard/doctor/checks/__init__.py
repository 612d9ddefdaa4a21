"""What was seen → what it means and what to do. Pure."""
