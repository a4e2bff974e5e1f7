"""Sky maps for tests: random ones made here, and the real ones."""

from __future__ import annotations

import base64
import functools
import gzip
import json
from pathlib import Path

import numpy as np

import skymaps
from tests.shared import shared

MAX_ORDER = 29


def random_tiles(
    rng: np.random.Generator, splits: int = 60, deepest: int = 12
) -> tuple[np.ndarray, np.ndarray]:
    """Order and pixel of tiles that cover the sky, by dividing random ones."""
    tiles = [(0, p) for p in range(12)]
    for _ in range(splits):
        order, pixel = tiles.pop(int(rng.integers(len(tiles))))
        if order == deepest:
            tiles.append((order, pixel))
            continue
        tiles += [(order + 1, 4 * pixel + k) for k in range(4)]
    order, pixel = np.array(tiles, np.int64).T
    return order, pixel


def random_map(seed: int, *, is_3d: bool = False, splits: int = 60) -> skymaps.SkyMap:
    """Random tiles and densities; in 3D a third of the tiles with DISTMU below zero."""
    rng = np.random.default_rng(seed)
    order, pixel = random_tiles(rng, splits)
    density = np.exp(rng.normal(0.0, 2.0, len(order)))
    density /= np.sum(density * np.pi / 3.0 * 4.0**-order)
    distances = None
    if is_3d:
        sigma = rng.uniform(5.0, 60.0, len(order))
        x = np.where(
            rng.uniform(size=len(order)) < 0.3,
            rng.uniform(-12, 0, len(order)),
            rng.uniform(0, 9, len(order)),
        )
        distances = (x * sigma, sigma, norm_by_quadrature(x, sigma))
    return skymaps.build_map(order, pixel, density, distances)


def smooth_map(seed: int) -> skymaps.SkyMap:
    """3,072 equal tiles of similar weight in 3D: no single one stands out, as in real maps."""
    rng = np.random.default_rng(seed)
    density = np.exp(rng.normal(0.0, 1.0, 3072))
    sigma = rng.uniform(5.0, 60.0, 3072)
    x = np.where(rng.uniform(size=3072) < 0.3, rng.uniform(-12, 0, 3072), rng.uniform(0, 9, 3072))
    distances = (x * sigma, sigma, norm_by_quadrature(x, sigma))
    return skymaps.build_map(np.full(3072, 4), np.arange(3072), density, distances)


def norm_by_quadrature(x: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """DISTNORM from its definition, by Gauss-Legendre on the part of t = r / sigma that counts."""
    nodes, weights = np.polynomial.legendre.leggauss(400)
    end = np.where(x < -2.0, np.minimum(45.0 / np.abs(x), 12.0), np.maximum(x, 0.0) + 12.0)
    t = 0.5 * end[:, None] * (nodes + 1.0)
    phi = np.exp(-0.5 * (t - x[:, None]) ** 2) / np.sqrt(2.0 * np.pi)
    return 1.0 / (sigma**2 * np.sum(0.5 * end[:, None] * weights * t**2 * phi, axis=1))


def random_positions(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Uniform on the sphere, in deg."""
    return rng.uniform(0.0, 360.0, n), np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, n)))


@functools.cache
def real_blobs() -> dict[str, bytes]:
    """Every distinct real map as uncompressed FITS bytes, by name; skips where absent."""
    folder: Path = shared("gw")
    blobs: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        if ".fit" in path.name:
            data = path.read_bytes()
            blobs[path.name] = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        elif path.suffix == ".json" and "gcn-schema" not in path.parts:
            notice = json.loads(path.read_text())
            for part, key in (("event", "skymap"), ("external_coinc", "combined_skymap")):
                text = (notice.get(part) or {}).get(key)
                if text:
                    blobs[f"{path.stem}:{part}"] = base64.b64decode(text)
    distinct: dict[bytes, str] = {}
    for name, data in blobs.items():
        distinct.setdefault(data, name)
    return {name: data for data, name in distinct.items()}


@functools.cache
def real_map(name: str) -> skymaps.SkyMap:
    """One of :func:`real_blobs`, loaded."""
    return skymaps.load(real_blobs()[name])


def real_names(*, is_3d: bool | None = None) -> list[str]:
    """Names of the real maps, for a loop inside a test."""
    names = [n for n in real_blobs() if "IPN" not in n]  # 50 million pixels: its own test
    return [n for n in names if is_3d is None or real_map(n).is_3d == is_3d]


def gw170817() -> skymaps.SkyMap:
    """The first three-detector map of GW170817."""
    notice = json.loads(shared("gw/MS181101ab-initial.json").read_text())
    return skymaps.load(notice["event"]["skymap"])
