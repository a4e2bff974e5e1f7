"""Kilonovae of many shells (Metzger 2017; Hotokezaka & Nakar 2020) against plain twins and peers.

The twins solve the same equations in NumPy. Given the peers' own shells and time steps they
reproduce the peers' tables; refined, they reproduce our kernels. What is left between our kernels
and the tables is therefore the peers' discretization.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt
import pytest
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicSpline
from scipy.special import erfc

from mmcoord.inference.kernels import C_CM_S, DAY_S, MSUN_G, SIGMA_CGS
from mmcoord.inference.models import hotokezaka20, metzger17, registry
from mmcoord.inference.models.components import heating_rate, thermalization_coefficients
from mmcoord.inference.models.shells import TIMES_S, at_times
from mmcoord.inference.passbands import passbands
from tests.inference.light import parameters_of, planck, rows_of
from tests.shared import shared

Array = npt.NDArray[np.float64]
TEN_PC_CM = 3.0856775814913673e19
NMMA_THERMAL = (0.56, 0.17, 0.74)


def magnitudes(light: Array, radius: Array, wave_angstrom: Array, distance_cm: float) -> Array:
    """AB magnitudes of blackbody spheres."""
    temperature = (light / (4 * np.pi * SIGMA_CGS * radius**2)) ** 0.25
    flux = (
        np.pi * planck(C_CM_S / (wave_angstrom * 1e-8), temperature) * (radius / distance_cm) ** 2
    )
    return np.asarray(-2.5 * np.log10(flux / 3.631e-20))


def efficiency(thermal: tuple[float, float, float], t_s: Array) -> Array:
    a, b, d = thermal
    t_day = t_s / DAY_S
    y = 2 * b * t_day**d
    return np.asarray(0.36 * (np.exp(-a * t_day) + np.log1p(y) / y))


def metzger_euler(
    t_s: Array, v_c: Array, mass_g: Array, cell_g: Array, neutrons: Array,
    beta: float, kappa: float, thermal: tuple[float, float, float],
    diffusion: float = 3 / (4 * np.pi),
) -> tuple[Array, Array]:  # fmt: skip
    """(L, R) of shells with ``mass_g`` outside of speeds ``v_c``, by Euler's method from E = 0.

    R at the shell whose optical depth is nearest to one.
    """
    v = v_c * C_CM_S
    energy = np.zeros(len(v))
    light, radius = np.zeros(len(t_s)), np.zeros(len(t_s))
    epsilon = efficiency(thermal, t_s)
    for j in range(len(t_s) - 1):
        t = t_s[j]
        free = neutrons * np.exp(-t / 900.0)
        grey = kappa * (1 - neutrons) + 0.4 * (neutrons - free)
        td = diffusion * grey * mass_g / (beta * v * C_CM_S * t)
        rate = energy / (td + t * v_c)
        light[j] = (rate * cell_g).sum()
        radius[j] = v[np.argmin(np.abs(grey * mass_g / (4 * np.pi * (v * t) ** 2) - 1))] * t
        plateau = 4e18 * max(0.5 - np.arctan((t - 1.3) / 0.11) / np.pi, 0.0) ** 1.3
        rprocess = 2.1e10 * (t / DAY_S) ** -1.3 if t > 1.3 else plateau
        heat = 3.2e14 * free + rprocess * epsilon[j]
        energy = energy + (t_s[j + 1] - t) * (heat - energy / t - rate)
    return light, radius


def metzger_kernel(
    mass: float, speed: float, beta: float, kappa: float, v_max: float, neutron_msun: float,
    share: float, thermal: tuple[float, float, float], t_day: Array,
) -> tuple[Array, Array]:  # fmt: skip
    light, ln_speed = np.empty(len(TIMES_S)), np.empty(len(TIMES_S))
    metzger17.shell_light(
        mass, speed, beta, kappa, v_max, neutron_msun, share, thermal, light, ln_speed
    )
    return seen(light, ln_speed, t_day)


def seen(light: Array, ln_speed: Array, t_day: Array) -> tuple[Array, Array]:
    """(L, R) at other times, by the kernel's own interpolation."""
    ln_temperature, radius2 = np.empty(len(t_day)), np.empty(len(t_day))
    at_times(light, ln_speed, np.log(t_day), ln_temperature, radius2)
    return 4 * np.pi * SIGMA_CGS * radius2 * np.exp(4 * ln_temperature), np.sqrt(radius2)


def nmma(model: str) -> list[tuple[dict[str, float], Array, Array, Array]]:
    """(parameters, days, wavelengths, absolute magnitudes) of NMMA's sets.

    NMMA leaves the pi out of F = pi B (R/D)^2: its magnitudes are 1.243 too faint.
    """
    groups = defaultdict(list)
    for row in rows_of(shared("kn/oracle/nmma_abs_mags.csv")):
        if row["model"] == model:
            groups[row["params"]].append(row)
    columns = ("t_rest_day", "lambda_A", "abs_mag_ab_10pc")
    sets = []
    for text, rows in groups.items():
        t_day, wave, mag = (np.array([float(r[c]) for r in rows]) for c in columns)
        sets.append((parameters_of(text), t_day, wave, mag - 2.5 * np.log10(np.pi)))
    assert len(sets) == 3
    return sets


def test_the_metzger_twin_in_nmmas_shells_is_nmmas_table() -> None:
    for p, t_day, wave, mag in nmma("Me2017"):
        mass, speed, beta = 10 ** p["log10_mej"], 10 ** p["log10_vej"], p["beta"]
        outside = np.geomspace(1e-8, mass, 300)
        v = np.minimum(speed * (outside / mass) ** (-1 / beta), 1.0)
        neutrons = 0.8 * 2 / np.pi * np.arctan(1e-8 / outside)
        grid = np.arange(0.01, 14.0, 0.005)
        light, radius = metzger_euler(
            grid * DAY_S, v[:-1], outside[:-1] * MSUN_G, np.diff(outside) * MSUN_G, neutrons[:-1],
            beta, 10 ** p["log10_kappa_r"], NMMA_THERMAL, diffusion=0.24,
        )  # fmt: skip
        at = np.array([np.argmin(np.abs(grid - t)) for t in t_day])
        theirs = magnitudes(light[at], radius[at], wave, TEN_PC_CM)
        np.testing.assert_allclose(theirs, mag, atol=1e-3)


def redback_sets() -> list[tuple[dict[str, float], Array, Array, Array]]:
    """(parameters, rest-frame days, rest-frame wavelengths, magnitudes at 10 pc of z = 0)."""
    groups = defaultdict(list)
    for row in rows_of(shared("kn/oracle/redback_mono_mags.csv")):
        if row["model"] == "metzger_kilonova_model":
            groups[row["set"]].append(row)
    sets = []
    for rows in groups.values():
        p = parameters_of(rows[0]["params"])
        stretch = 1 + p["redshift"]
        t_day = np.array([float(r["t_obs_day"]) for r in rows]) / stretch
        wave = np.array([float(r["lambda_eff_A"]) for r in rows]) / stretch
        nearer = 5 * np.log10(float(rows[0]["dl_cm"]) / TEN_PC_CM) - 2.5 * np.log10(stretch)
        mag = np.array([float(r["mag_ab"]) for r in rows]) - nearer
        sets.append((p, t_day, wave, mag))
    assert len(sets) == 3
    return sets


def redback_neutrons(kappa: float) -> float:
    """1 - Y_e, Y_e from the opacity as redback interpolates Tanaka et al. (2020)."""
    opacities = [0.5, 0.96, 3.3, 5.36, 5.6, 22.3, 32.2, 35.0]
    return 1 - float(np.interp(kappa, opacities, [0.5, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1]))


def test_the_metzger_twin_in_redbacks_shells_is_redbacks_table() -> None:
    for p, t_day, wave, mag in redback_sets():
        mass, speed, beta, kappa = p["mej"], p["vej"], p["beta"], p["kappa"]
        v = np.linspace(speed, 0.7, 200)
        outside = mass * (v / speed) ** -beta
        neutrons = redback_neutrons(kappa) * 2 / np.pi * np.arctan(1e-4 / outside)
        # 75 steps up to half the first time asked for, 350 to twice the last.
        first, last = 0.5 * t_day.min() * DAY_S, 2 * t_day.max() * DAY_S
        t_s = np.unique(np.append(np.geomspace(1e-2, first, 75), np.geomspace(first, last, 350)))
        light, radius = metzger_euler(
            t_s, v[:-1], outside[:-1] * MSUN_G, -np.diff(outside) * MSUN_G, neutrons[:-1],
            beta, kappa, thermalization_coefficients(mass, speed),
        )  # fmt: skip
        ln_t = np.log(t_day * DAY_S)
        light, radius = (
            np.exp(np.interp(ln_t, np.log(t_s[1:-1]), np.log(x[1:-1]))) for x in (light, radius)
        )
        delta = magnitudes(light, radius, wave, TEN_PC_CM) - mag
        np.testing.assert_allclose(delta, 0.0, atol=0.005)


@pytest.mark.parametrize(
    ("mass", "speed", "beta", "kappa"),
    [(0.01, 0.1, 3.0, 1.0), (0.03, 0.2, 4.0, 3.0), (0.05, 0.3, 3.0, 10.0), (0.002, 0.05, 1.5, 0.5)],
)
def test_metzger_kernel_is_the_refined_twin(
    mass: float, speed: float, beta: float, kappa: float
) -> None:
    edges = np.geomspace(speed, 0.7, 301)
    v = np.sqrt(edges[1:] * edges[:-1])
    outside = mass * (v / speed) ** -beta
    cell = -mass * np.diff((edges / speed) ** -beta)
    neutrons = 0.8 * 2 / np.pi * np.arctan(1e-4 / outside)
    thermal = thermalization_coefficients(mass, speed)
    t_s = np.geomspace(0.02, 15 * DAY_S, 20_000)
    light, radius = metzger_euler(
        t_s, v, outside * MSUN_G, cell * MSUN_G, neutrons, beta, kappa, thermal
    )
    t_day = np.array([0.05, 0.2, 0.5, 1.0, 3.0, 7.0, 14.0])
    at = np.searchsorted(t_s, t_day * DAY_S)
    ours, where = metzger_kernel(mass, speed, beta, kappa, 0.7, 1e-4, 0.8, thermal, t_s[at] / DAY_S)
    np.testing.assert_allclose(2.5 * np.log10(ours / light[at]), 0.0, atol=0.005)
    # The twin's photosphere is at a shell: they are 0.9 % of a speed apart.
    np.testing.assert_allclose(np.log(where / radius[at]), 0.0, atol=0.006)


def test_metzger_kernel_is_near_redbacks_table() -> None:
    # Within the peers' discretization; the far Wien tail magnifies a small error of T.
    for p, t_day, wave, mag in redback_sets():
        mass, speed, kappa = p["mej"], p["vej"], p["kappa"]
        thermal = thermalization_coefficients(mass, speed)
        neutrons = redback_neutrons(kappa)
        order = np.argsort(t_day, kind="stable")
        light, radius = metzger_kernel(
            mass, speed, p["beta"], kappa, 0.7, 1e-4, neutrons, thermal, t_day[order]
        )
        delta = magnitudes(light, radius, wave[order], TEN_PC_CM) - mag[order]
        temperature = (light / (4 * np.pi * SIGMA_CGS * radius**2)) ** 0.25
        bright = wave[order] * temperature > 1.44e8 / 8  # h nu < 8 k T
        assert bright.sum() > 50
        np.testing.assert_allclose(delta[bright], 0.0, atol=0.15)
        assert abs(np.median(delta)) < 0.1


def hotokezaka_twin(
    mass: float, v_min: float, v_mid: float, v_max: float, kappa_in: float, kappa_out: float,
    slope: float, t_day: Array, shells: tuple[Array, Array], first_s: float, rtol: float,
) -> tuple[Array, Array]:  # fmt: skip
    """(L, R) by SciPy's Runge-Kutta from E = 0; ``shells``: speeds in c and widths."""
    v, width = shells
    rho = mass * MSUN_G * (slope - 3) / (1 - (v_max / v_min) ** (3 - slope))
    rho /= 4 * np.pi * (v_min * C_CM_S) ** 3
    cell = 4 * np.pi * (v_min * C_CM_S) ** 3 * rho * (v / v_min) ** (2 - slope) * width / v_min

    def power(x: Array | float) -> Array:
        return np.asarray((x / v_min) ** (1 - slope))

    outer = kappa_out * (power(np.maximum(v, v_mid)) - power(v_max))
    inner = kappa_in * np.maximum(power(v) - power(v_mid), 0.0)
    tau = (outer + inner) * v_min * C_CM_S * rho / (slope - 1)
    td = tau * v

    def rate(t: float) -> Array:
        return np.asarray(erfc(np.sqrt(0.5 * td) / t) / (np.minimum(t, td / t) + v * t))

    def slope_of(t: float, energy: Array) -> Array:
        return np.asarray(-energy / t - rate(t) * energy + 0.5 * heating_rate(t) * cell)

    solved = solve_ivp(
        slope_of, (first_s, float(t_day.max()) * DAY_S), np.zeros(len(v)), first_step=first_s,
        rtol=rtol,
    )  # fmt: skip
    light = np.array([(rate(t) * e).sum() for t, e in zip(solved.t, solved.y.T, strict=True)])
    late = solved.t > 0.3 * t_day[0] * DAY_S
    spline = CubicSpline(np.log(solved.t[late]), np.log(light[late]))
    depth_one = np.interp(2 * np.log(t_day * DAY_S), np.log(tau[::-1]), np.log(v[::-1]))
    return np.exp(spline(np.log(t_day * DAY_S))), np.exp(depth_one) * C_CM_S * t_day * DAY_S


def hotokezaka_arguments(p: dict[str, float]) -> tuple[float, ...]:
    v_min, v_max = p["vej_min"], p["vej_max"]
    middle = v_min + p["vej_frac"] * (v_max - v_min)
    opacities = 10 ** p["log10_kappa_low_vej"], 10 ** p["log10_kappa_high_vej"]
    return (10 ** p["log10_mej"], v_min, middle, v_max, *opacities, p["n"])


def test_the_hotokezaka_twin_in_nmmas_shells_is_nmmas_table() -> None:
    for p, t_day, wave, mag in nmma("HoNa2020"):
        arguments = hotokezaka_arguments(p)
        v_min, v_max = arguments[1], arguments[3]
        v = (v_max + v_min - np.geomspace(v_min, v_max, 100))[::-1][:-1]
        times = np.unique(np.append(t_day, 14.0))
        light, radius = hotokezaka_twin(
            *arguments, times, (v, np.diff(np.append(v, v_max))), 0.02 * DAY_S, 1e-3
        )
        at = np.searchsorted(times, t_day)
        theirs = magnitudes(light[at], radius[at], wave, TEN_PC_CM)
        # SciPy's Runge-Kutta with its default tolerance, theirs and here, scatters by this much.
        np.testing.assert_allclose(theirs, mag, atol=0.01)
        assert np.quantile(np.abs(theirs - mag), 0.9) < 0.003


@pytest.mark.parametrize(
    "arguments",
    [
        (0.05, 0.1, 0.2, 0.4, 3.0, 0.5, 4.5),
        (0.01, 0.05, 0.175, 0.3, 10.0, 1.0, 4.5),
        (0.03, 0.1, 0.15, 0.35, 3.2, 0.5, 5.0),
        (0.002, 0.15, 0.4, 0.6, 0.5, 0.2, 6.0),
    ],
)
def test_hotokezaka_kernel_is_the_refined_twin(arguments: tuple[float, ...]) -> None:
    graded = 1 - np.linspace(1, 0, 401) ** 2
    edges = arguments[1] * (arguments[3] / arguments[1]) ** graded
    shells = np.sqrt(edges[1:] * edges[:-1]), np.diff(edges)
    t_day = np.array([0.05, 0.2, 0.5, 1.0, 3.0, 7.0, 14.0])
    light, radius = hotokezaka_twin(*arguments, t_day, shells, 0.05, 1e-7)  # type: ignore[call-arg]
    raw, ln_speed = np.empty(len(TIMES_S)), np.empty(len(TIMES_S))
    hotokezaka20.shell_light(*arguments, raw, ln_speed)
    ours, where = seen(raw, ln_speed, t_day)
    np.testing.assert_allclose(2.5 * np.log10(ours / light), 0.0, atol=0.005)
    np.testing.assert_allclose(np.log(where / radius), 0.0, atol=0.005)


def test_transparent_ejecta_shine_what_heats_them_less_expansion() -> None:
    # E/(v t/c) is emitted and E/t lost to expansion; for q ~ t^-1.3 then E ~ t^-0.3 solves
    # dE/dt = q - E/t - E/(v t/c), and L = q/(1 + 0.7 v/c).
    raw, ln_speed = np.empty(len(TIMES_S)), np.empty(len(TIMES_S))
    v_min, v_max, slope = 0.1, 0.3, 4.5
    hotokezaka20.shell_light(1e-5, v_min, 0.2, v_max, 0.1, 0.1, slope, raw, ln_speed)
    light, radius = seen(raw, ln_speed, np.array([20.0, 40.0]))
    v = np.linspace(v_min, v_max, 10_001)
    weight = v ** (2 - slope)
    share = np.trapezoid(weight / (1 + 0.7 * v), v) / np.trapezoid(weight, v)
    heat = [0.5 * heating_rate(t * DAY_S) * 1e-5 * MSUN_G for t in (20.0, 40.0)]
    np.testing.assert_allclose(light, share * np.array(heat), rtol=2e-3)
    np.testing.assert_allclose(radius, v_min * C_CM_S * np.array([20.0, 40.0]) * DAY_S, rtol=1e-6)


@pytest.mark.parametrize("name", ["metzger17", "hotokezaka20"])
def test_shells_see_no_light_before_the_event_and_know_their_redshift(name: str) -> None:
    model = registry.load(name)
    theta = model.theta(np.random.default_rng(2).random((9, len(model.parameters))))
    t_day, band = np.array([-1.0, 0.0, 0.5, 2.0]), np.zeros(4, dtype=np.int64)
    bands = passbands(("lsst:i",))
    d = np.full(9, 100.0)
    near = model.magnitudes(theta, d, np.zeros(9), t_day, band, bands)
    assert np.all(near[:, :2] == 60.0)
    assert np.all(near[:, 2:] < 60.0)
    twice = model.magnitudes(theta, 2 * d, np.zeros(9), t_day, band, bands)
    np.testing.assert_allclose(twice[:, 2:] - near[:, 2:], 5 * np.log10(2.0), atol=1e-9)
    alone = model.magnitudes(theta[4:5], d[4:5], np.zeros(1), t_day, band, bands)
    np.testing.assert_array_equal(alone[0], near[4])
