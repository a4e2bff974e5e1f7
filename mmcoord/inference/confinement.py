"""What a sandbox is made of: bubblewrap's arguments and a filter for system calls.

* bubblewrap (https://github.com/containers/bubblewrap): new namespaces for users, processes,
  network, IPC and host name; a file system that holds the interpreter, the system's libraries
  and the installed packages, all read-only, and a small /tmp; no environment, no capabilities,
  no terminal.
* libseccomp: no sockets, no new processes, no tracing, no namespaces, no keys, no kernel
  interfaces that a model cannot need. It is called through ctypes: the Python binding is not
  on PyPI, the library is part of every systemd system.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import shutil
import site
import sys
import sysconfig
from pathlib import Path

from mmcoord.errors import NoSandbox

__all__ = ["TMP_BYTES", "bwrap_arguments", "import_paths", "interpreter", "seccomp_program"]

TMP_BYTES = 16 * 2**20
_LIBRARIES = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64")
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_CLONE_THREAD = 0x00010000
_MASKED_EQ = 7
_FORBIDDEN = (
    "socket", "socketpair", "connect", "bind", "listen", "accept", "accept4",
    "fork", "vfork", "kill", "ptrace", "process_vm_readv", "process_vm_writev", "kcmp",
    "pidfd_open", "pidfd_getfd", "unshare", "setns", "mount", "umount2", "pivot_root", "chroot",
    "mount_setattr", "move_mount", "open_tree", "fsopen", "fsmount", "fsconfig", "fspick",
    "add_key", "request_key", "keyctl", "bpf", "perf_event_open", "userfaultfd",
    "io_uring_setup", "io_uring_enter", "io_uring_register",
    "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module",
    "open_by_handle_at", "name_to_handle_at", "quotactl", "acct", "swapon", "swapoff", "reboot",
    "settimeofday", "clock_settime", "adjtimex", "clock_adjtime", "sethostname", "setdomainname",
    "iopl", "ioperm", "syslog", "vhangup", "personality", "memfd_create", "memfd_secret",
    "shmget", "msgget", "semget", "mq_open", "inotify_init", "inotify_init1", "fanotify_init",
)  # fmt: skip
"""Refused with EPERM, so that a model gets a Python exception with a line."""


class _Comparison(ctypes.Structure):
    """``struct scmp_arg_cmp`` of seccomp.h."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


@functools.cache
def seccomp_program() -> bytes:
    """The filter as the kernel's bytecode.

    Raises
    ------
    NoSandbox
        libseccomp is not installed.
    """
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        raise NoSandbox("libseccomp is not installed: models from others are not run") from None
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p,
    ]  # fmt: skip
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    context = library.seccomp_init(_ALLOW)
    try:
        for name in _FORBIDDEN:
            _add(library, context, name, errno.EPERM)
        # Threads are made with clone(CLONE_THREAD ...), processes without. clone3 hides its
        # flags from a filter; without it the C library falls back to clone.
        _add(library, context, "clone3", errno.ENOSYS)
        no_thread = _Comparison(0, _MASKED_EQ, _CLONE_THREAD, 0)
        _add(library, context, "clone", errno.EPERM, no_thread)
        return _exported(library, context)
    finally:
        library.seccomp_release(context)


def _add(
    library: ctypes.CDLL, context: int, name: str, error: int, where: _Comparison | None = None
) -> None:
    number = library.seccomp_syscall_resolve_name(name.encode())
    if number < 0:
        return  # a call that this machine does not have
    count, pointer = (0, None) if where is None else (1, ctypes.byref(where))
    status = library.seccomp_rule_add_array(context, _ERRNO | error, number, count, pointer)
    if status != 0:
        raise NoSandbox(f"libseccomp takes no rule for {name}: {os.strerror(-status)}")


def _exported(library: ctypes.CDLL, context: int) -> bytes:
    descriptor = os.memfd_create("seccomp")
    try:
        status = library.seccomp_export_bpf(context, descriptor)
        if status != 0:
            raise NoSandbox(f"libseccomp gives no program: {os.strerror(-status)}")
        os.lseek(descriptor, 0, os.SEEK_SET)
        return os.read(descriptor, 1 << 20)
    finally:
        os.close(descriptor)


def bwrap_arguments(seccomp_fd: int) -> list[str]:
    """The command up to and including ``--``.

    Raises
    ------
    NoSandbox
        bubblewrap is not installed.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise NoSandbox("bubblewrap (bwrap) is not installed: models from others are not run")
    arguments = [
        bwrap, "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent",
        "--new-session", "--clearenv", "--cap-drop", "ALL", "--uid", "65534", "--gid", "65534",
        "--hostname", "model",
    ]  # fmt: skip
    # Before the rest, which may lie below it on the outside.
    arguments += ["--size", str(TMP_BYTES), "--tmpfs", "/tmp"]  # noqa: S108 - the child's own
    for path in _LIBRARIES:
        arguments += ["--ro-bind-try", path, path]
    for path in (*_interpreter_files(), *import_paths()):
        arguments += ["--ro-bind", path, path]
    arguments += ["--dev", "/dev", "--remount-ro", "/dev"]
    arguments += ["--remount-ro", "/", "--chdir", "/tmp"]  # noqa: S108
    # One thread: a model's linear algebra must not take every core from the engine.
    for library in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
        arguments += ["--setenv", f"{library}_NUM_THREADS", "1"]
    arguments += ["--setenv", "NUMBA_CACHE_DIR", "/tmp", "--setenv", "HOME", "/tmp"]  # noqa: S108
    return [*arguments, "--seccomp", str(seccomp_fd), "--"]


def interpreter() -> str:
    """The real interpreter below a virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def import_paths() -> list[str]:
    """Folders of installed packages; a checkout's own folder is none of them."""
    packages = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    packages.update(site.getsitepackages())
    packages.update(p for p in sys.path if Path(p).name in ("site-packages", "dist-packages"))
    user = site.getusersitepackages()
    return sorted(os.path.realpath(p) for p in packages if p != user and os.path.isdir(p))


def _interpreter_files() -> list[str]:
    """The interpreter and its library, and no more of its prefix."""
    files = {interpreter(), sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    libdir = sysconfig.get_config_var("LIBDIR") or ""
    shared = sysconfig.get_config_var("INSTSONAME") or ""
    if os.path.isfile(os.path.join(libdir, shared)):
        files.add(os.path.join(libdir, shared))
    if sys.base_prefix not in ("/usr", "/"):
        files.add(os.path.join(sys.base_prefix, "lib"))
    return sorted(path for path in files if path and os.path.exists(path))
