"""Every form of a map is read as the same map; what is wrong is refused, what can be is mended."""

import base64
import gzip
import io
import itertools
from pathlib import Path
from typing import Any

import healpy
import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

import skymaps
from tests.shared import shared
from tests.skymaps.maps import gw170817, random_map, real_blobs, real_map, real_names


def fits_bytes(columns: dict[str, Any], units: dict[str, str] | None = None, **cards: Any) -> bytes:
    """A FITS file with one table, written by astropy."""
    kinds = {"f8": "D", "f4": "E", "i8": "K", "i4": "J"}
    cols = []
    for name, values in columns.items():
        array = np.asarray(values)
        repeat = "" if array.ndim == 1 else str(array.shape[1])
        form = repeat + kinds[array.dtype.str[1:]]
        cols.append(fits.Column(name, form, unit=(units or {}).get(name), array=array))
    table = fits.BinTableHDU.from_columns(cols)
    for keyword, value in cards.items():
        table.header[keyword.replace("_", "-")] = value
    out = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(out)
    return out.getvalue()


def flat_columns(skymap: skymaps.SkyMap, order: int, ring: bool) -> dict[str, np.ndarray]:
    """The map rasterised by hand: a value for each pixel."""
    npix = 12 * 4**order
    pixels = np.arange(npix)
    nested = healpy.ring2nest(1 << order, pixels) if ring else pixels
    tile = np.searchsorted(skymap.start, nested << (2 * (29 - order)), side="right") - 1
    columns = {"PROB": skymap.density_sr[tile] * 4 * np.pi / npix}
    if skymap.distances:
        names = ("DISTMU", "DISTSIGMA", "DISTNORM")
        columns |= {n: c[tile] for n, c in zip(names, skymap.distances, strict=True)}
    return columns


FLAT = {"PIXTYPE": "HEALPIX", "COORDSYS": "C", "INDXSCHM": "IMPLICIT"}
MOC = {"PIXTYPE": "HEALPIX", "COORDSYS": "C", "ORDERING": "NUNIQ", "INDXSCHM": "EXPLICIT"}


def moc_bytes(skymap: skymaps.SkyMap, **changes: Any) -> bytes:
    columns = {"UNIQ": skymap.uniq, "PROBDENSITY": skymap.density_sr}
    return fits_bytes(columns, **(MOC | changes))


@given(seed=st.integers(0, 2**32 - 1), ring=st.booleans(), is_3d=st.booleans())
@settings(max_examples=15, deadline=None)
def test_flat_ring_and_nested_are_the_multi_order_map(seed: int, ring: bool, is_3d: bool) -> None:
    source = random_map(seed, is_3d=is_3d, splits=30)
    order = min(int(source.order.max()), 7)
    columns = flat_columns(source, order, ring)
    flat = skymaps.load(
        fits_bytes(columns, ORDERING="RING" if ring else "NESTED", NSIDE=1 << order, **FLAT)
    )
    rng = np.random.default_rng(seed)
    pixel = rng.integers(0, 12 * 4**order, 200)
    ra, dec = healpy.pix2ang(1 << order, pixel, nest=True, lonlat=True)
    one, two = (skymaps.match(m, ra, dec, 100.0) for m in (source, flat))
    if source.order.max() <= 7:
        assert len(flat) <= len(source)  # equal siblings may merge further
        assert one.prob_density_sr == pytest.approx(two.prob_density_sr, rel=1e-12)
        assert one.credible_level_2d == pytest.approx(two.credible_level_2d, abs=1e-9)
        assert one.credible_level_3d == pytest.approx(two.credible_level_3d, abs=1e-6, nan_ok=True)


def test_astropy_writer_and_ours_make_the_same_map() -> None:
    source = random_map(3)
    assert skymaps.load(moc_bytes(source)).content_id == source.content_id
    assert skymaps.load(skymaps.to_fits_bytes(source)).content_id == source.content_id


@given(seed=st.integers(0, 2**32 - 1), is_3d=st.booleans())
@settings(max_examples=20, deadline=None)
def test_what_is_written_reads_back(seed: int, is_3d: bool) -> None:
    source = random_map(seed, is_3d=is_3d)
    data = skymaps.to_fits_bytes(source)
    assert skymaps.load(data).content_id == source.content_id
    with fits.open(io.BytesIO(data)) as hdus:
        hdus.verify("exception")
        assert np.array_equal(hdus[1].data["UNIQ"], source.uniq)


@pytest.mark.parametrize("cut", [1, 2880, 5000])
@pytest.mark.parametrize("number", [2, 7])
def test_a_gzip_of_several_members_is_the_map_of_all(cut: int, number: int) -> None:
    """RFC 1952, 2.2: the members follow one another; some tools write many."""
    data = skymaps.to_fits_bytes(random_map(seed=3))
    at = [0, *(cut * k for k in range(1, number)), len(data)]
    packed = b"".join(gzip.compress(data[a:b], 0) for a, b in itertools.pairwise(at))
    assert skymaps.load(packed).content_id == skymaps.load(data).content_id
    with pytest.raises(skymaps.SkyMapError, match="truncated"):
        skymaps.load(packed[:-4])


def test_a_gzip_of_very_many_members_is_refused() -> None:
    with pytest.raises(skymaps.SkyMapError, match="10000 members"):
        skymaps.load(gzip.compress(b"SIMPLE") + gzip.compress(b"") * 10_000)


def test_bytes_gzip_base64_str_and_file_are_one_map(tmp_path: Path) -> None:
    data = skymaps.to_fits_bytes(random_map(1))
    path = tmp_path / "map.fits.gz"
    path.write_bytes(gzip.compress(data))
    expected = random_map(1).content_id
    text = base64.encodebytes(data)  # with line breaks
    zipped = base64.b64encode(gzip.compress(data)).decode()
    for source in (data, gzip.compress(data), text, text.decode(), zipped, path, str(path)):
        assert skymaps.load(source).content_id == expected


def test_json_and_avro_notice_carry_the_same_map() -> None:
    import fastavro

    with shared("gw/MS181101ab-preliminary.avro").open("rb") as stream:
        notice: Any = next(iter(fastavro.reader(stream)))
    record = notice[0] if isinstance(notice, list) else notice
    assert skymaps.load(record["event"]["skymap"]).content_id == gw170817().content_id


@pytest.mark.parametrize("name", ["PROB", "PROBABILITY", "SIGNAL"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("width", [1, 64])
def test_flat_columns_of_all_names_and_layouts(name: str, dtype: str, width: int) -> None:
    values = np.random.default_rng(0).uniform(1, 2, 768).astype(dtype)
    values /= values.sum()
    column = values if width == 1 else values.reshape(-1, width)
    skymap = skymaps.load(fits_bytes({name: column}, ORDERING="NESTED", NSIDE=8, **FLAT))
    assert skymap.density_sr == pytest.approx(values.astype(float) * 768 / (4 * np.pi), rel=1e-6)
    assert any("SIGNAL" in r for r in skymap.repairs) == (name == "SIGNAL")


def test_density_per_square_degree_is_converted() -> None:
    source = random_map(4)
    per_deg2 = source.density_sr / (180 / np.pi) ** 2
    columns = {"UNIQ": source.uniq, "PROBDENSITY": per_deg2}
    stated = skymaps.load(fits_bytes(columns, {"PROBDENSITY": "deg-2"}, **MOC))
    assert stated.density_sr == pytest.approx(source.density_sr, rel=1e-12)
    assert any("deg2" in r for r in stated.repairs)
    unstated = skymaps.load(fits_bytes(columns, **MOC))
    assert unstated.density_sr == pytest.approx(source.density_sr, rel=1e-9)
    assert any("normalised" in r for r in unstated.repairs)


def test_probability_per_tile_becomes_density() -> None:
    source = random_map(4)
    skymap = skymaps.load(fits_bytes({"UNIQ": source.uniq, "PROB": source.probability}, **MOC))
    assert skymap.density_sr == pytest.approx(source.density_sr, rel=1e-12)


def test_partial_maps() -> None:
    nside, pixels = 16, np.array([5, 900, 17])
    for ordering in ("RING", "NESTED"):
        skymap = skymaps.load(
            fits_bytes(
                {"PIXEL": pixels, "PROB": [0.2, 0.5, 0.3]},
                PIXTYPE="HEALPIX",
                NSIDE=nside,
                ORDERING=ordering,
                INDXSCHM="EXPLICIT",
                COORDSYS="C",
            )
        )
        ra, dec = healpy.pix2ang(nside, pixels, nest=ordering == "NESTED", lonlat=True)
        density = skymaps.match(skymap, ra, dec).prob_density_sr
        assert density * 4 * np.pi / (12 * nside**2) == pytest.approx([0.2, 0.5, 0.3])


def test_repairs_are_recorded() -> None:
    mu, sigma, norm = (np.array(c) for c in random_map(2, is_3d=True).distances)
    mu[0], sigma[1] = np.inf, np.nan
    source = random_map(2, is_3d=True)
    columns = {
        "UNIQ": source.uniq,
        "PROBDENSITY": 3 * source.density_sr,
        "DISTMU": mu,
        "DISTSIGMA": sigma,
        "DISTNORM": norm,
    }
    skymap = skymaps.load(fits_bytes({k: v[:-3] for k, v in columns.items()}, **MOC))
    text = " | ".join(skymap.repairs)
    for word in ("normalised", "covers", "2 tiles"):
        assert word in text
    assert skymap.probability.sum() == pytest.approx(1.0)
    assert np.array_equal(
        np.flatnonzero(~skymap.has_distance), np.flatnonzero(np.isin(skymap.uniq, source.uniq[:2]))
    )


def test_a_flawless_map_has_no_repairs() -> None:
    assert skymaps.load(moc_bytes(random_map(0))).repairs == ()


def overlapping() -> dict[str, Any]:
    order, pixel = np.array([0, 1]), np.array([3, 13])
    return {"UNIQ": pixel + 4 * 4**order, "PROBDENSITY": [1.0, 1.0]}


BASE = random_map(7, splits=5)
GOOD = {"UNIQ": BASE.uniq, "PROBDENSITY": BASE.density_sr}
PIXELS = {"PROB": np.full(768, 1 / 768)}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "neither|not a FITS"),
        (b"hello, world, this is not a map!", "neither"),
        (b"SIMPLE  =                    T", "truncated"),
        (fits_bytes(GOOD, **(MOC | {"ORDERING": "RANGE"})), "ORDERING"),
        (fits_bytes(GOOD, **(MOC | {"COORDSYS": "G"})), "COORDSYS"),
        (fits_bytes(overlapping(), **MOC), "overlap"),
        (fits_bytes({k: np.append(v, v[:1]) for k, v in GOOD.items()}, **MOC), "overlap or repeat"),
        (fits_bytes(GOOD | {"UNIQ": np.append(BASE.uniq[:-1], 3)}, **MOC), "UNIQ, row"),
        (fits_bytes(GOOD | {"UNIQ": np.append(BASE.uniq[:-1], 16 * 4**29)}, **MOC), "UNIQ, row"),
        (fits_bytes(GOOD | {"PROBDENSITY": -BASE.density_sr}, **MOC), "negative"),
        (fits_bytes(GOOD | {"PROBDENSITY": BASE.density_sr * 0}, **MOC), "zero"),
        (fits_bytes(GOOD | {"PROBDENSITY": BASE.density_sr * np.nan}, **MOC), "finite"),
        (fits_bytes({"UNIQ": BASE.uniq}, **MOC), "no density"),
        (fits_bytes({"A": [1.0], "B": [2.0]}), "no table"),
        (fits_bytes(GOOD, **MOC)[:-4000], "truncated"),
        (gzip.compress(fits_bytes(GOOD, **MOC))[:-500], "gzip"),
        (gzip.compress(fits_bytes(GOOD, **MOC))[:-9] + b"123456789", "gzip"),
        (fits_bytes(PIXELS, ORDERING="SPIRAL", NSIDE=8, **FLAT), "ORDERING"),
        (fits_bytes(PIXELS, NSIDE=8, **FLAT), "ORDERING"),
        (fits_bytes(PIXELS, ORDERING="NESTED", NSIDE=16, **FLAT), "pixels"),
        (fits_bytes({"PROB": [1.0] * 108}, ORDERING="RING", NSIDE=3, **FLAT), "power of two"),
        (fits_bytes(PIXELS, ORDERING="NESTED", NSIDE=8, **(FLAT | {"COORDSYS": "E"})), "COORDSYS"),
    ],
)
def test_what_cannot_be_trusted_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(skymaps.SkyMapError, match=reason):
        skymaps.load(data)


def test_bombs_are_refused_before_they_expand() -> None:
    bomb = gzip.compress(b"SIMPLE  = " + bytes(50_000_000))
    with pytest.raises(skymaps.SkyMapError, match="limit"):
        skymaps.load(bomb, max_bytes=1_000_000)
    with pytest.raises(skymaps.SkyMapError, match="limit"):
        skymaps.load(base64.b64encode(bomb * 60), max_bytes=1_000_000)
    data = skymaps.to_fits_bytes(random_map(0, splits=400))
    with pytest.raises(skymaps.SkyMapError, match="limit"):
        skymaps.load(data, max_bytes=len(data) - 1)


def test_order_past_29_cannot_be_built() -> None:
    with pytest.raises(skymaps.SkyMapError, match="order 30"):
        skymaps.build_map([30], [0], [1.0])
    with pytest.raises(skymaps.SkyMapError, match="no pixel"):
        skymaps.build_map([2], [192], [1.0])


def test_first_and_last_tile_of_every_order_survive() -> None:
    for order in range(30):
        for pixel in {0, 12 * 4**order - 1}:
            skymap = skymaps.build_map([order], [pixel], [1.0])
            again = skymaps.load(skymaps.to_fits_bytes(skymap))
            assert (again.order[0], again.start[0] >> (2 * (29 - order))) == (order, pixel)


def test_every_real_map_reads_as_ligo_skymap_reads_it() -> None:
    io_ligo = pytest.importorskip("ligo.skymap.io")
    for name in real_names():
        theirs = io_ligo.read_sky_map(io.BytesIO(real_blobs()[name]), moc=True)
        mine = real_map(name)
        assert mine.probability.sum() == pytest.approx(1.0, abs=2e-8)
        assert mine.is_3d == ("DISTMU" in theirs.colnames), name
        if "multiorder" in name or ":" in name:
            by_uniq = np.argsort(theirs["UNIQ"])
            mine_by_uniq = np.argsort(mine.uniq)
            assert np.array_equal(theirs["UNIQ"][by_uniq], mine.uniq[mine_by_uniq])
            assert np.array_equal(theirs["PROBDENSITY"][by_uniq], mine.density_sr[mine_by_uniq]), (
                name
            )


@pytest.mark.slow
def test_fifty_million_pixels() -> None:
    skymap = skymaps.load(shared("gw/GRB220617A_IPN_map_hpx.fits.gz"))
    assert skymap.probability.sum() == pytest.approx(1.0, abs=1e-7)
    assert len(skymap) < 2000
    # The densest place is where the annuli of the header cross.
    tile = int(np.argmax(skymap.density_sr))
    pixel = skymap.start[tile] >> (2 * (29 - int(skymap.order[tile])))
    ra, dec = healpy.pix2ang(1 << int(skymap.order[tile]), int(pixel), nest=True, lonlat=True)
    for centre, radius in (((196.5516, -5.0812), 44.3851), ((107.2110, 18.9927), 47.3968)):
        apart = np.degrees(
            np.arccos(healpy.ang2vec(ra, dec, lonlat=True) @ healpy.ang2vec(*centre, lonlat=True))
        )
        assert apart == pytest.approx(radius, abs=0.3)
