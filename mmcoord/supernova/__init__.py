"""A neutrino burst of a supernova: what several alerts say of one burst, and what it means.

Read in this order: ``burst`` (alerts -> one burst), ``falsealarm`` (is it real), ``classify``
(what it is), ``distance``, ``waiting`` (how long until light), ``assess`` (all of them).
Everything here is pure; :mod:`mmcoord.stages.bursts` connects it with the store.
"""
