"""Coming from the old service: its profiles, its host, its application. Nothing else in waguard needs this folder."""
