"""The package as a whole: what it exports, what it costs to import, its pictures."""

import subprocess
import sys

import pytest

import skymaps
from tests.skymaps.maps import gw170817, random_map


def test_public_names_are_sorted_and_exist() -> None:
    def order(name: str) -> tuple[int, str]:
        return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)

    assert skymaps.__all__ == sorted(skymaps.__all__, key=order)
    for name in skymaps.__all__:
        assert hasattr(skymaps, name)


def test_import_brings_in_nothing_heavy() -> None:
    heavy = ["astropy", "matplotlib", "healpy", "mocpy", "pyarrow", "ligo"]
    code = f"import sys, skymaps; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_maps_are_immutable() -> None:
    skymap = random_map(0)
    with pytest.raises(ValueError, match="read-only"):
        skymap.density_sr[0] = 1.0
    with pytest.raises(AttributeError):
        skymap.repairs = ()  # type: ignore[misc]


@pytest.mark.parametrize("is_3d", [False, True])
def test_picture_is_a_png_of_the_stated_size(is_3d: bool) -> None:
    pytest.importorskip("matplotlib")
    from skymaps.picture import sky_picture

    png = sky_picture(random_map(0, is_3d=is_3d), [("A", 0.1, -80.0)], title="test", dpi=50)
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(png[16:20]) == 600


def test_picture_shows_the_region_and_the_candidate() -> None:
    pytest.importorskip("matplotlib")
    import io

    import numpy as np
    from matplotlib.image import imread

    from skymaps.picture import sky_picture

    with_candidate, without = (
        imread(io.BytesIO(sky_picture(gw170817(), candidates, dpi=60)))
        for candidates in ([("AT2017gfo", 197.450354, -23.381484)], [])
    )
    changed = np.abs(with_candidate - without).sum(axis=-1) > 0.1
    assert 20 < changed.sum() < 3000
    half = changed.shape[1] * 6 // 10
    assert changed[:, :half].any()  # on the whole sky
    assert changed[:, half:].any()  # and in the zoom
