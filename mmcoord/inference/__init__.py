"""The shared inference engine: one job in, one immutable result out; no store, no network.

Read in this order: :mod:`~mmcoord.inference.job` (what is asked and answered, and the key that
makes equal questions one run), :mod:`~mmcoord.inference.engine` (how it is answered),
:mod:`~mmcoord.inference.sampler`, :mod:`~mmcoord.inference.models`,
:mod:`~mmcoord.inference.screening` (the quick look).

``job`` and ``files`` are light; ``engine`` and ``screening`` load Numba.
"""
