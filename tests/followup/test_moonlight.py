"""Moonlight against the closed cases of Krisciunas and Schaefer (1991)."""

from __future__ import annotations

import numpy as np
import pytest

from followup.moonlight import depth_loss_mag, moon_sky_nl, nl_from_mag, path_length


def test_the_dark_zenith_of_mauna_kea_is_79_nanolambert() -> None:
    """Their adopted B_zen = 79.0 nL is V = 21.587."""
    assert nl_from_mag(21.587) == pytest.approx(79.0, abs=0.1)


def test_opaque_air_lets_no_moonlight_in() -> None:
    assert moon_sky_nl(0.0, 90.0, 1.0, 1.0, 50.0) == pytest.approx(0.0, abs=1e-6)


def test_moonlight_by_hand() -> None:
    """Half Moon (90 deg phase) at 60 deg altitude, zenith 30 deg off it, k = 0.172."""
    path = (1 - 0.96 * np.sin(np.radians(30.0)) ** 2) ** -0.5
    moon = 10 ** (-0.4 * (3.84 + 0.026 * 90 + 4e-9 * 90**4))
    scatter = 10**5.36 * (1.06 + 0.75) + 10 ** (6.15 - 30 / 40)
    hand = scatter * moon * 10 ** (-0.4 * 0.172 * path) * (1 - 10 ** (-0.4 * 0.172))
    there = moon_sky_nl(90.0, 30.0, np.sin(np.radians(60.0)), 1.0, 0.172)
    assert there == pytest.approx(hand)


def test_a_moon_below_the_horizon_or_new_takes_nothing() -> None:
    assert depth_loss_mag("lsst:r", 0.0, 60.0, -0.01, 0.8) == 0.0
    assert depth_loss_mag("lsst:r", 175.0, 60.0, 0.5, 0.8) < 0.01


def test_the_full_moon_takes_a_magnitude_in_u_and_g_and_little_in_y() -> None:
    """As observers know: blue suffers, red less, the near infrared not at all."""
    loss = [
        float(depth_loss_mag(band, 10.0, 60.0, 0.7, 0.9))
        for band in ("lsst:u", "lsst:g", "lsst:r", "lsst:i", "lsst:z", "lsst:y", "2mass:j")
    ]
    assert loss[1:] == sorted(loss[1:], reverse=True)
    assert min(loss[:2]) > 1.0
    assert loss[5] < 0.5
    assert loss[6] == 0.0


def test_paths_at_the_zenith_and_the_horizon() -> None:
    assert path_length(1.0) == 1.0
    assert path_length(0.0) == pytest.approx(5.0)
