"""Keeps astropy, the oracle, from reaching for the network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from astropy.utils import iers


@pytest.fixture(autouse=True)
def offline_astropy() -> Iterator[None]:
    with iers.conf.set_temp("auto_download", False), iers.conf.set_temp("auto_max_age", None):
        yield
