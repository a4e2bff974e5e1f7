"""A model from others can harm nothing: what it tries is stopped and named, the next one works."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmcoord.errors import BadModel, NoSandbox
from mmcoord.inference import sandbox_worker
from mmcoord.inference.probe import probe
from mmcoord.inference.sandbox import Limits, Sandbox
from mmcoord.inference.usermodel import read_source
from tests.inference.usermodels import FADER, model

pytestmark = pytest.mark.usefixtures("sandbox_works")

THETA = np.array([[-16.0, 0.5], [-14.0, 1.0]])
T_DAY = np.array([[0.5, 1.0, 2.0], [0.5, 1.0, 2.0]])
WAVE = np.full((2, 3), 6000.0)
SHORT = Limits(call_s=2.0, curve_s=0.0)
BWRAP = shutil.which("bwrap")
GOOD = model("return p.peak + p.fade * t_day")
WANTED = THETA[:, :1] + THETA[:, 1:] * T_DAY


def reason(body: str, limits: Limits | None = None) -> str:
    """What a model with this body is stopped for; a good one works right after it."""
    with Sandbox(model(body), limits) as sandbox:
        with pytest.raises(BadModel) as caught:
            sandbox(THETA, T_DAY, WAVE)
    with Sandbox(GOOD) as sandbox:
        np.testing.assert_array_equal(sandbox(THETA, T_DAY, WAVE), WANTED)
    return str(caught.value)


def test_what_a_model_says_holds_nothing_that_a_terminal_or_a_store_would_mind() -> None:
    told = reason("raise ValueError('a\\x1b[2J\\0\\ud800\\nb')")
    assert told.endswith("raised ValueError: a\ufffd[2J\ufffd\ufffd b")
    assert told.isprintable()
    told = reason("import os\nos.write(2, b'x\\x1b[2J\\xff')\nos._exit(1)")
    assert told.isprintable()


def test_one_process_answers_many_calls() -> None:
    counting = model("global n\nn = globals().get('n', 0) + 1\nreturn n + 0.0 * t_day")
    with Sandbox(counting) as sandbox:
        for call in range(50):
            answer = sandbox(THETA, T_DAY, WAVE)
            assert answer[:, 0].tolist() == [2 * call + 1, 2 * call + 2]
        assert sandbox.n_curves == 100


def test_numbers_cross_the_wall_bit_by_bit() -> None:
    rng = np.random.default_rng(0)
    theta = rng.standard_normal((40, 2)) * 10.0 ** rng.integers(-300, 300, (40, 2))
    with Sandbox(model("return p.peak + 0.0 * t_day")) as sandbox:
        answer = sandbox(theta, np.zeros((40, 3)), np.zeros((40, 3)))
    np.testing.assert_array_equal(answer, np.repeat(theta[:, :1], 3, axis=1))


def test_a_large_question_and_answer_do_not_block_each_other() -> None:
    t_day = np.random.default_rng(0).random((4, 300_000))
    with Sandbox(model("return t_day + wavelength_angstrom")) as sandbox:
        answer = sandbox(np.zeros((4, 2)), t_day, t_day)
    np.testing.assert_array_equal(answer, 2 * t_day)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return 1 / 0", "model mine line 7: raised ZeroDivisionError: division by zero"),
        ("x = 1\nreturn x + q", "line 8: raised NameError: name 'q' is not defined"),
        ("return t_day[:1]", "raised ValueError: returned shape (1,), wanted (3,)"),
        ("return 20.0", "raised ValueError: returned shape (), wanted (3,)"),
        ("return None", "raised TypeError: returned NoneType, not an array of real numbers"),
        ("return t_day + 1j", "raised TypeError: returned ndarray, not an array of real numbers"),
        ("return ['a', 'b', 'c']", "raised TypeError: returned list, not an array"),
        ("return [[1.0], [2.0, 3.0]]", "raised ValueError"),
        ("raise SystemExit(0)", "line 7: raised SystemExit: 0"),
        ("raise KeyboardInterrupt", "line 7: raised KeyboardInterrupt"),
        ("def f(): return f()\nreturn f()", "line 7: raised RecursionError"),
        ("import os\nos._exit(3)", "its process ended with exit code 3"),
        ("import ctypes\nctypes.string_at(0)", "its process ended by SIGSEGV"),
        ("import os\nos.abort()", "its process ended by SIGABRT"),
        ("import mmcoord.config", "only packages installed beside mmcoord can be imported"),
    ],
)  # fmt: skip
def test_a_model_that_is_wrong_is_told_where(body: str, told: str) -> None:
    assert told in reason(body)


def test_a_model_that_hangs_is_stopped() -> None:
    assert "no answer within 2 s: stopped" in reason("while True: pass", SHORT)
    deaf = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nsignal.pause()"
    assert "no answer within 2 s: stopped" in reason(deaf, SHORT)


def test_a_file_that_hangs_while_it_is_read_is_stopped() -> None:
    hanging = model("return t_day")
    source = hanging.source.source.replace("import numpy", "while True: pass\nimport numpy")
    stuck = replace(hanging, source=replace(hanging.source, source=source))
    with Sandbox(stuck, Limits(start_s=2.0)) as sandbox:
        with pytest.raises(BadModel, match="no answer within 2 s"):
            sandbox.start()


def test_memory_is_limited() -> None:
    told = reason("return np.ones(50 * 2**30 // 8)")
    assert "MemoryError" in told
    assert "it may use 2048 MiB" in told
    assert "MemoryError" in reason("x = []\nwhile True: x.append(bytearray(10_000_000))")


def test_limits_cannot_be_raised_from_inside() -> None:
    body = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (2**40, 2**40))"
    assert "not allowed to raise maximum limit" in reason(body)


@pytest.mark.parametrize(
    "body",
    [
        "import os\nwhile True: os.fork()",
        "import subprocess\nsubprocess.run(['/bin/true'])",
        "import multiprocessing\nmultiprocessing.get_context('fork').Process().start()",
        "import os, sys\nos.posix_spawn(sys.executable, ['x'], {})",
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "if libc.syscall(57) < 0: raise OSError(ctypes.get_errno(), 'fork')",
    ],
)
def test_no_other_process_can_be_started(body: str) -> None:
    told = reason(body)
    assert "Operation not permitted" in told or "No such file" in told or "[Errno 1]" in told


def test_threads_for_ever_come_to_an_end() -> None:
    body = (
        "import threading, time\n"
        "while True: threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()"
    )
    assert "can't start new thread" in reason(body)


def test_a_model_that_prints_for_ever_is_stopped() -> None:
    assert "printed more than 65536 bytes" in reason("while True: print('x' * 1_000_000)")
    to_errors = "import sys\nwhile True: sys.stderr.write('x' * 1_000_000)"
    assert "printed more than 65536 bytes" in reason(to_errors)


def test_a_little_printing_does_no_harm() -> None:
    with Sandbox(model("print('hello')\nreturn t_day")) as sandbox:
        np.testing.assert_array_equal(sandbox(THETA, T_DAY, WAVE), T_DAY)


def test_what_a_dying_model_said_is_told() -> None:
    assert "sorry" in reason("import os\nprint('sorry', flush=True)\nos._exit(1)")


@pytest.mark.parametrize("what", ["b'x' * 2**24", "b'\\x02\\0\\0\\0\\0\\0\\0\\0{}' * 9"])
def test_writing_into_the_pipe_of_answers_is_noticed(what: str) -> None:
    body = (
        "import os\nfor fd in range(3, 64):\n    try: os.write(fd, " + what + ")\n"
        "    except OSError: pass\nreturn t_day"
    )
    assert "its answers do not follow the protocol" in reason(body)


@pytest.mark.parametrize(
    "path",
    ["/x", "/usr/lib/x", "/dev/shm/x", "/etc/x", f"{np.__path__[0]}/x.py", f"{os.__file__}c"],
)
def test_nothing_can_be_written_outside_tmp(path: str) -> None:
    existed = Path(path).exists()
    told = reason(f"open({path!r}, 'w').write('x')")
    assert "Read-only file system" in told or "FileNotFoundError" in told or "Errno 13" in told
    assert Path(path).exists() == existed


def test_what_is_written_to_tmp_is_small_and_gone(tmp_path: Path) -> None:
    assert "File too large" in reason("open('/tmp/x', 'wb').write(bytes(9_000_000))")
    many = "for k in range(9): open(f'/tmp/{k}', 'wb').write(bytes(4_000_000))"
    assert "No space left" in reason(many)
    with Sandbox(model("open('/tmp/mmcoord-was-here', 'w').write('x')\nreturn t_day")) as sandbox:
        sandbox(THETA, T_DAY, WAVE)
    assert not Path("/tmp/mmcoord-was-here").exists()


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_PACKET"])
def test_there_is_no_network(family: str) -> None:
    told = reason(f"import socket\nsocket.socket(socket.{family}, socket.SOCK_RAW)")
    assert "[Errno 1] Operation not permitted (a model has no network" in told


def test_files_of_the_system_the_home_and_the_store_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "home" / ".mmcoord-token"
    token.parent.mkdir()
    token.write_text("secret")
    store = tmp_path / "mmcoord.db"
    store.write_bytes(b"SQLite format 3")
    monkeypatch.setenv("HOME", str(token.parent))
    here = [__file__, str(token), str(store), "/etc/passwd", "/etc/shadow", "/proc/1/environ"]
    here += [str(Path(sandbox_worker.__file__)), "/proc/self/environ", "/sys/kernel", "/var/lib"]
    for path in here:
        told = reason(f"open({path!r}).read()")
        assert "FileNotFoundError" in told or "NotADirectory" in told


def test_the_environment_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCOORD_TNS_TOKEN", "secret")
    told = reason("import os\nraise ValueError(sorted(os.environ))")
    names = "['HOME', 'LC_CTYPE', 'MKL_NUM_THREADS', 'NUMBA_CACHE_DIR', 'NUMBA_NUM_THREADS', "
    assert told.endswith(f"{names}'OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'PWD']")


@pytest.mark.parametrize("target", ["os.getppid()", "-1", "of the test"])
def test_a_model_cannot_kill_its_parent(target: str) -> None:
    target = str(os.getpid()) if target == "of the test" else target
    body = (
        "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        f"if libc.kill({target}, 9) < 0: raise OSError(ctypes.get_errno(), 'kill')\n"
    )
    assert "line 9: raised PermissionError: [Errno 1] kill" in reason(body)


@pytest.mark.parametrize(
    ("number", "arguments"),
    [
        (101, "0, os.getppid(), 0, 0"),  # ptrace
        (272, "0x10000000"),  # unshare(CLONE_NEWUSER)
        (165, "b'none', b'/tmp', b'tmpfs', 0, 0"),  # mount
        (321, "0, 0, 0"),  # bpf
        (425, "8, 0"),  # io_uring_setup
        (250, "0, 0, 0, 0, 0"),  # keyctl
        (298, "0, 0, -1, -1, 0"),  # perf_event_open
    ],
)
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of system calls of x86-64")
def test_what_a_model_cannot_need_of_the_kernel_is_refused(number: int, arguments: str) -> None:
    body = (
        "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        f"if libc.syscall({number}, {arguments}) < 0: raise OSError(ctypes.get_errno(), 'call')"
    )
    assert "[Errno 1] call" in reason(body)


# -- processes end -----------------------------------------------------------------------


def alive(marker: str) -> list[int]:
    """Processes of this machine that have ``marker`` among their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if marker.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue  # it has just ended
    return found


def gone(marker: str) -> bool:
    for _ in range(200):
        if not alive(marker):
            return True
        time.sleep(0.05)
    return False


def test_nothing_is_left_of_a_closed_or_stopped_sandbox() -> None:
    limits = Limits(cpu_s=71_717, call_s=1.0, curve_s=0.0)
    with Sandbox(GOOD, limits) as sandbox:
        sandbox(THETA, T_DAY, WAVE)
        assert alive("71717")
    assert gone("71717")
    with Sandbox(model("while True: pass"), limits) as sandbox:
        with pytest.raises(BadModel, match="no answer"):
            sandbox(THETA, T_DAY, WAVE)
        assert gone("71717")


def test_a_model_ends_with_a_parent_that_is_killed() -> None:
    code = (
        "import numpy as np\n"
        "from tests.inference.test_sandbox import *\n"
        "s = Sandbox(model('while True: pass'), Limits(cpu_s=72_727, call_s=600.0))\n"
        "s.start(); print('started', flush=True); s(THETA, T_DAY, WAVE)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"started\n"
        assert len(alive("72727")) >= 2
        parent.send_signal(signal.SIGKILL)
    assert gone("72727")


# -- no bare mode --------------------------------------------------------------------------


@pytest.fixture
def fake_bwrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only program on the path, to be written by the test."""
    monkeypatch.setenv("PATH", str(tmp_path))
    probe.cache_clear()
    yield tmp_path / "bwrap"
    probe.cache_clear()


def refused(tmp_path: Path) -> str:
    """Why nothing is run; a witness makes sure that nothing was."""
    witness = tmp_path / "witness"
    with Sandbox(model(f"open({str(witness)!r}, 'w')\nreturn t_day")) as sandbox:
        with pytest.raises(NoSandbox) as caught:
            sandbox(THETA, T_DAY, WAVE)
    assert not witness.exists()
    return str(caught.value)


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_without_bubblewrap_nothing_is_run(fake_bwrap: Path, tmp_path: Path) -> None:
    assert "bwrap) is not installed" in refused(tmp_path)


def test_where_bubblewrap_fails_nothing_is_run(fake_bwrap: Path, tmp_path: Path) -> None:
    script(fake_bwrap, "echo 'bwrap: No permissions to create new namespace' >&2; exit 1")
    told = refused(tmp_path)
    assert "not run here" in told
    assert "No permissions to create new namespace" in told


def test_where_the_walls_do_not_stand_nothing_is_run(fake_bwrap: Path, tmp_path: Path) -> None:
    # A bubblewrap that confines nothing: it runs what comes after --.
    script(fake_bwrap, 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"')
    told = refused(tmp_path)
    assert "leaves open files of the system, our own files, network" in told


def test_where_one_wall_is_missing_nothing_is_run(fake_bwrap: Path, tmp_path: Path) -> None:
    script(fake_bwrap, f'exec {BWRAP} --ro-bind /etc /etc "$@"')
    assert "the sandbox leaves open files of the system" in refused(tmp_path)


# -- the protocol --------------------------------------------------------------------------


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(min_size=1, max_size=200))
def test_whatever_comes_instead_of_an_answer_is_named(garbage: bytes) -> None:
    body = (
        f"import os\nfor fd in range(3, 16):\n    try: os.write(fd, {garbage!r})\n"
        "    except OSError: pass\nos._exit(0)"
    )
    with Sandbox(model(body)) as sandbox:
        with pytest.raises(BadModel, match=r"protocol|its process ended|answered"):
            sandbox(THETA, T_DAY, WAVE)


def test_the_file_is_read_once_and_its_mistakes_have_lines() -> None:
    broken = FADER.replace("import numpy as np", "import numpy as np\nx = [][1]")
    with Sandbox(read_source(broken, name="broken")) as sandbox:
        with pytest.raises(BadModel, match="model broken line 3: raised IndexError"):
            sandbox.start()
