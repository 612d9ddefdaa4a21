"""The database: one row per session that the application shares, and what waguard keeps for itself.

``whatsapp_accounts`` may belong to the application: it is read as it is found and never altered.
``waguard_sessions`` holds what it cannot say (the desired state, the generation) and stands in for
columns that an older one lacks. Every write locks the session's row first, in one transaction.
"""
