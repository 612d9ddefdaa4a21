"""``waguard chaos``: break a rehearsed waguard in every known way, and check that it heals itself.

``faults.py`` has the ways to break it, with ``host_faults.py``, ``whatsapp_faults.py`` and
``daemon_faults.py``, and ``harming.py`` what they have in common; ``world.py`` what is broken and what can be seen of it,
``opening.py`` how that is made, ``traffic.py`` and ``rows.py`` what goes on meanwhile,
``message_check.py`` whether sent, stored and delivered messages agree at the end,
``processes.py`` which process is which, ``invariants.py`` what must hold, ``drawing.py`` which fault
comes when and ``report.py`` what is reported at the end. ``campaign.py`` puts them together.
"""
