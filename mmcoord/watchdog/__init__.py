"""The watchdog: what an operator has to be told, decided from facts, told once.

``facts`` says what is looked at, ``decide`` (pure) which alarms should stand, ``reading``
gathers the facts from the store, ``runner`` compares with what stands, ``telling`` tells the
operators. Each alarm is explained in ``docs/alarms.md``.
"""
