"""Several hosts: keepers on an engine that behaves as badly as real ones do."""
