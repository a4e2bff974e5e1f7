"""CSV of candidates in, CSV or Parquet out."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest

import skymaps
from skymaps.table import CHUNK_ROWS, RESULT_COLUMNS
from tests.skymaps.maps import random_map


def run(
    text: str, skymap: skymaps.SkyMap | None = None
) -> tuple[skymaps.TableSummary, list[dict[str, str]], list[tuple[int, str]]]:
    bad: list[tuple[int, str]] = []
    out = io.StringIO()
    summary = skymaps.match_table(
        skymap or random_map(3, is_3d=True),
        io.StringIO(text),
        out,
        on_bad_row=lambda line, reason: bad.append((line, reason)),
    )
    return summary, list(csv.DictReader(io.StringIO(out.getvalue()))), bad


def test_rows_keep_their_columns_and_get_the_maps_answers() -> None:
    skymap = random_map(3, is_3d=True)
    summary, rows, bad = run(
        'id,RA,dec,note,distance_mpc,distance_err_mpc\na,10,20,"x, ""y""",100,9\nb,1e1,-3.5,,,\n',
        skymap,
    )
    assert (summary.rows, summary.bad_rows, bad) == (2, 0, [])
    assert summary.area_90_deg2 == skymaps.credible_area_deg2(skymap, 0.9)
    assert rows[0]["note"] == 'x, "y"'
    assert rows[0]["RA"] == "10"
    expected = skymaps.match(skymap, [10.0, 10.0], [20.0, -3.5], [100.0, np.nan], [9.0, np.nan])
    for name in RESULT_COLUMNS:
        for row, value in zip(rows, getattr(expected, name), strict=True):
            if np.isnan(value):
                assert row[name] == ""
            else:
                assert float(row[name]) == pytest.approx(value, rel=1e-9)


def test_redshift_is_used_where_there_is_no_distance() -> None:
    skymap = random_map(3, is_3d=True)
    _, rows, _ = run(
        "id,ra,dec,distance_mpc,z,z_err\na,10,20,,0.02,0.001\nb,10,20,80,0.02,\n", skymap
    )
    distance, below, above = skymaps.redshift_distance(0.02, 0.001)
    by_z = skymaps.match(skymap, 10.0, 20.0, distance, (below, above))
    direct = skymaps.match(skymap, 10.0, 20.0, 80.0)
    assert float(rows[0]["credible_level_3d"]) == pytest.approx(by_z.credible_level_3d[0], rel=1e-8)
    assert float(rows[1]["credible_level_3d"]) == pytest.approx(
        direct.credible_level_3d[0], rel=1e-8
    )


def test_each_bad_row_is_named_with_its_line() -> None:
    text = (
        "id,ra,dec,distance_mpc\n"
        "ok,1,2,\n"
        "a,xyz,2,\n"
        "\n"
        '"two\nlines",1,2,\n'
        "b,360.5,2,\n"
        "c,1,-91,\n"
        "d,1,2\n"
        "e,1,2,-5\n"
        "f,,2,\n"
        "g,nan,2,\n"
        "h,1,2,inf\n"
        "i,1,2,3,4\n"
        "last,3,4,5\n"
    )
    summary, rows, bad = run(text)
    assert [r["id"] for r in rows] == ["ok", "two\nlines", "last"]
    assert summary.bad_rows == len(bad) == 9
    assert [line for line, _ in bad] == [3, 7, 8, 9, 10, 11, 12, 13, 14]
    for (_, reason), word in zip(
        bad,
        ("'xyz'", "360.5", "dec", "3 columns", "negative", "ra", "ra", "infinite", "5 columns"),
        strict=True,
    ):
        assert word in reason


def test_more_rows_than_a_chunk_and_progress(tmp_path: Path) -> None:
    n = 2 * CHUNK_ROWS + 17
    rng = np.random.default_rng(0)
    path, out = tmp_path / "c.csv", tmp_path / "o.csv"
    ra, dec = rng.uniform(0, 360, n), rng.uniform(-90, 90, n)
    lines = [
        f"{i},{a!r},{d!r}" for i, (a, d) in enumerate(zip(ra.tolist(), dec.tolist(), strict=True))
    ]
    path.write_text("id,ra,dec\n" + "\n".join(lines) + "\n")
    seen: list[int] = []
    summary = skymaps.match_table(random_map(1), path, out, on_progress=seen.append)
    assert summary.rows == n == seen[-1]
    assert seen == sorted(seen)
    table = np.genfromtxt(out, delimiter=",", skip_header=1, usecols=(0, 3, 4))
    assert np.array_equal(table[:, 0], np.arange(n))
    expected = skymaps.match(random_map(1), ra, dec)
    assert table[:, 1] == pytest.approx(expected.prob_density_sr, rel=1e-9)
    assert table[:, 2] == pytest.approx(expected.credible_level_2d, rel=1e-9)


def test_parquet_holds_nulls(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    source, out = tmp_path / "c.csv", tmp_path / "o.parquet"
    source.write_text("id,ra,dec,extra\na,1,2,hello\n")
    skymaps.match_table(random_map(1, is_3d=True), source, out)
    row = parquet.read_table(out).to_pylist()[0]
    assert row["extra"] == "hello"
    assert row["credible_level_3d"] is None
    assert row["credible_level_2d"] == pytest.approx(
        skymaps.match(random_map(1), 1.0, 2.0).credible_level_2d[0]
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("id,ra\n", "no column dec"),
        ("id,ra,dec,credible_level_2d\n", "already"),
    ],
)
def test_unusable_tables_are_refused(text: str, reason: str) -> None:
    with pytest.raises(skymaps.SkyMapError, match=reason):
        run(text)
