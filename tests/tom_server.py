"""A real TOM Toolkit, unmodified, on this machine: for the tests and for trying by hand.

``python -m tests.tom_server --port 8010`` starts one and prints how to reach it.

The TOM lives in an environment of its own under ``.cache/tom`` (``MMCOORD_TOM_CACHE``
moves it), made once, and again when what it is made of changes: ``tomtoolkit`` from pip, a
project by ``django-admin startproject`` and ``tom_setup`` with its default answers, and a
migrated database with four users. Every start copies that database, so nothing that a test
does lasts. One with ``tom_nonlocalizedevents`` has another environment (``.cache/tom-events``,
1.4 GB) and lives in a PostgreSQL database, which that app demands.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import html
import json
import os
import queue
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import venv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

__all__ = ["TomServer", "TomUnavailable", "TomUser", "extras", "prepare", "running_tom"]

REQUIREMENT = "tomtoolkit>=3.1"
EVENTS_REQUIREMENT = "tom-nonlocalizedevents>=1.0"
GROUP = "mmcoord"
_LAYOUT = "1"  # counts up when a cached seed made by an older version must be made again
_HERE = Path(__file__).resolve().parent
APP_FOLDER = _HERE.parent / "followup" / "tom_mmcoord"


class TomUnavailable(RuntimeError):
    """No TOM can be had here; the message says why."""


@dataclass(frozen=True, slots=True)
class TomUser:
    """A user of the test TOM."""

    name: str
    password: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        """What authenticates this user at the REST interface."""
        return {"Authorization": f"Token {self.token}"}


@dataclass(frozen=True, slots=True)
class TomServer:
    """A running TOM. Users: see :func:`_seed_users`."""

    url: str
    version: str
    bot: TomUser
    """Member of the group ``mmcoord``; no special rights."""
    observer: TomUser
    """Another member of ``mmcoord``."""
    outsider: TomUser
    """Member of no group."""
    admin: TomUser
    """Superuser, member of no group."""
    django: Callable[[str], str]
    """Runs Python code inside the TOM, as its ``manage.py shell`` does; what it printed."""

    def get(self, path: str, user: TomUser | None = None, **params: str | int) -> httpx.Response:
        """GET below the TOM's address, as ``user`` (default: the bot)."""
        headers = (user or self.bot).headers
        return httpx.get(f"{self.url}{path}", headers=headers, params=params, timeout=60)

    def targets(self, user: TomUser | None = None, **filters: str | int) -> list[dict[str, Any]]:
        """The targets that ``user`` sees through the REST interface."""
        answer = self.get("/api/targets/", user, limit=5000, **filters)
        answer.raise_for_status()
        results: list[dict[str, Any]] = answer.json()["results"]
        return results

    def members(self, target_list: str) -> set[str]:
        """Names of the targets in a target list, through the REST interface."""
        number = self.list_number(target_list)
        if number is None:
            return set()
        return {target["name"] for target in self.targets(targetlist__name=number)}

    def list_number(self, target_list: str) -> int | None:
        """The primary key of a target list: it is only in the browsable form of the REST pages."""
        headers = {**self.bot.headers, "Accept": "text/html"}
        page = httpx.get(f"{self.url}/api/targets/?limit=1", headers=headers, timeout=60).text
        _, _, form = page.partition('name="targetlist__name"')
        for number, name in re.findall(r'<option value="(\d+)"[^>]*>([^<]*)<', form):
            if html.unescape(name) == target_list:
                return int(number)
        return None


def extras(target: dict[str, Any]) -> dict[str, str]:
    """The extras of a target as the TOM shows them."""
    return {extra["key"]: extra["value"] for extra in target["targetextra_set"]}


def cache_folder() -> Path:
    """Where the TOM's environment and seed are kept between runs."""
    return Path(os.environ.get("MMCOORD_TOM_CACHE", _HERE.parent / ".cache" / "tom"))


def prepare(*, events: bool = False) -> Path:
    """Make the environment and the seed unless they are there; returns the cache folder.

    ``events``: the environment that has ``tom_nonlocalizedevents``.

    Raises
    ------
    TomUnavailable
        A step failed (most likely pip without a network); the message holds its output.
    """
    cache = cache_folder()
    wanted = [REQUIREMENT]
    if events:
        cache = cache.with_name(f"{cache.name}-events")
        wanted.append(EVENTS_REQUIREMENT)
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs at once make it once
        ready = cache / "ready"
        made_of = f"{_LAYOUT} {' '.join(wanted)} {sys.version_info[:2]}"
        if ready.exists() and ready.read_text() == made_of:
            return cache
        python = cache / "venv" / "bin" / "python"
        if not python.exists():
            venv.create(cache / "venv", with_pip=False)
        # Our own pip is up to date; the one that comes with Python takes minutes to choose.
        _run(
            [
                *(sys.executable, "-m", "pip", "--python", python),
                *("install", "-q", "--retries", "1", *wanted),
            ],
            cwd=cache,
        )
        _make_project(cache, python)
        ready.write_text(made_of)
    return cache


@contextlib.contextmanager
def running_tom(
    port: int = 0, *, more_settings: str = "", app: bool = False, events_at: str = ""
) -> Iterator[TomServer]:
    """A TOM with a fresh copy of the seed, until the block ends. Port 0: any free one.

    ``more_settings`` is added to its ``settings.py``, as the TOM's operator would; ``app``
    gives it our Django app; ``events_at``, the URL of an empty PostgreSQL database, gives it
    ``tom_nonlocalizedevents`` (and half a minute of migrations).

    Raises
    ------
    TomUnavailable
        It cannot be made or does not start.
    """
    cache = prepare(events=bool(events_at))
    users = json.loads((cache / "users.json").read_text())
    environment = _clean_environment()
    if app:
        environment["PYTHONPATH"] = str(APP_FOLDER)
    if events_at:
        more_settings += _events_settings(events_at)
        # SQLAlchemy takes postgresql:// for a driver that the app does not bring.
        environment["SA_DB_CONNECTION_URL"] = f"postgresql+psycopg2:{events_at.partition(':')[2]}"
    with tempfile.TemporaryDirectory(prefix="mmcoord-tom-", dir=_fast_folder()) as folder:
        project = Path(folder) / "mytom"
        shutil.copytree(cache / "mytom", project)
        with open(project / "mytom" / "settings.py", "a") as settings:
            settings.write(f"\n{more_settings}\n")
            if app:
                settings.write("\nINSTALLED_APPS += ['tom_mmcoord']\n")
        python = cache / "venv" / "bin" / "python"

        def django(code: str) -> str:
            command: list[str | Path] = [python, "manage.py", "shell", "-v0", "-c", code]
            return _run(command, cwd=project, environment=environment)

        if app or events_at:
            what = [] if events_at else ["tom_mmcoord"]
            command = [python, "manage.py", "migrate", "-v0", *what]
            _run(command, cwd=project, environment=environment)
        if events_at:
            users = _made_users(django)
        with _serving(python, project, port, environment) as (url, version):
            people = {name: TomUser(**user) for name, user in users.items()}
            yield TomServer(url, version, **people, django=django)


def _events_settings(url: str) -> str:
    """What a TOM's operator adds for ``tom_nonlocalizedevents``."""
    at = httpx.URL(url)
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": at.path.lstrip("/"),
        "USER": at.username,
        "PASSWORD": at.password,
        "HOST": at.host,
        "PORT": str(at.port),
    }
    return (
        f"\nDATABASES = {{'default': {database!r}}}\n"
        "INSTALLED_APPS += ['tom_nonlocalizedevents']\n"
        "HERMES_API_URL = 'https://hermes.invalid'\n"
    )


def _fast_folder() -> str | None:
    """Memory where there is some: each write of the TOM's SQLite waits for the disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@contextlib.contextmanager
def _serving(
    python: Path, project: Path, port: int, environment: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    log = project.parent / "server.log"
    with open(log, "wb") as errors:
        process = subprocess.Popen(
            [python, _HERE / "tom_server_main.py", str(project), str(port)],
            stdin=subprocess.PIPE,  # the server ends when this pipe closes, however we end
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            text=True,
        )
        try:
            with process:
                assert process.stdout is not None
                line = _first_line(process, timeout_s=120)
                if not line:
                    raise TomUnavailable(f"the TOM did not start:\n{log.read_text()[-3000:]}")
                answer = json.loads(line)
                yield f"http://127.0.0.1:{answer['port']}", answer["version"]
                process.terminate()
        finally:
            process.kill()
            process.wait()


def _first_line(process: subprocess.Popen[str], timeout_s: float) -> str:
    """The server's first line of output; empty when it ended or took too long."""
    lines: queue.Queue[str] = queue.Queue()
    assert process.stdout is not None
    threading.Thread(target=lambda: lines.put(process.stdout.readline()), daemon=True).start()
    try:
        return lines.get(timeout=timeout_s)
    except queue.Empty:
        process.kill()
        return ""


def _make_project(cache: Path, python: Path) -> None:
    """startproject, tom_setup with its default answers, migrate, users."""
    shutil.rmtree(cache / "mytom", ignore_errors=True)
    _run([python, "-m", "django", "startproject", "mytom"], cwd=cache)
    project = cache / "mytom"
    settings = project / "mytom" / "settings.py"
    text = settings.read_text()
    settings.write_text(text.replace("INSTALLED_APPS = [", "INSTALLED_APPS = ['tom_setup',"))
    _run([python, "manage.py", "tom_setup"], cwd=project, answers="y\ncustom_code\n1\nn\n")
    _run([python, "manage.py", "migrate", "-v0"], cwd=project)
    command: list[str | Path] = [python, "manage.py", "shell", "-v0", "-c"]
    users = _made_users(lambda code: _run([*command, code], cwd=project))
    (cache / "users.json").write_text(json.dumps(users))


def _made_users(django: Callable[[str], str]) -> dict[str, dict[str, str]]:
    output = django(_seed_users()).splitlines()[-1]
    return {user["name"]: user for user in json.loads(output)}


def _seed_users() -> str:
    """Django code that makes the users and prints them; passwords are new for each seed."""
    passwords = {n: secrets.token_urlsafe(12) for n in ("bot", "observer", "outsider", "admin")}
    return (
        "import json\n"
        "from django.contrib.auth.models import Group, User\n"
        "from rest_framework.authtoken.models import Token\n"
        f"group = Group.objects.create(name={GROUP!r})\n"
        "out = []\n"
        f"for name, password in {passwords!r}.items():\n"
        "    kind = 'superuser' if name == 'admin' else 'user'\n"
        "    make = getattr(User.objects, f'create_{kind}')\n"
        "    user = make(name, name + '@tom.invalid', password)\n"
        "    if name in ('bot', 'observer'):\n"
        "        user.groups.add(group)\n"
        "    token = Token.objects.get_or_create(user=user)[0].key\n"
        "    out.append({'name': name, 'password': password, 'token': token})\n"
        "print(json.dumps(out))\n"
    )


def _run(
    command: list[str | Path],
    *,
    cwd: Path,
    answers: str = "",
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run one step; its output."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            input=answers,
            env=environment or _clean_environment(),
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TomUnavailable(f"{command[1:4]} took more than 900 s") from None
    if done.returncode != 0:
        tail = (done.stdout + done.stderr)[-2000:]
        raise TomUnavailable(f"{' '.join(map(str, command[1:5]))} failed:\n{tail}")
    return done.stdout


def _clean_environment() -> dict[str, str]:
    """Ours without what would lead the TOM's Python to our packages or settings."""
    hidden = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "DJANGO_SETTINGS_MODULE"}
    return {k: v for k, v in os.environ.items() if k not in hidden}


def main(argv: list[str] | None = None) -> int:
    """Start a TOM and keep it until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.tom_server", description=__doc__)
    parser.add_argument("--port", type=int, default=8010)
    port = parser.parse_args(argv).port
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leaves as after Ctrl-C
    print(f"preparing a TOM under {cache_folder()} (a minute the first time) ...", flush=True)
    try:
        with running_tom(port) as tom:
            print(f"TOM Toolkit {tom.version} at {tom.url} (everything is lost when it ends)")
            for user in (tom.bot, tom.observer, tom.outsider, tom.admin):
                print(f"  {user.name:9} password {user.password}  token {user.token}")
            print("\n[sinks.tom]\nkind = 'tom'\npractice = true\n[sinks.tom.options]")
            print(f"url = '{tom.url}'\ntoken_env = 'TOM_TOKEN'", flush=True)
            print(f"\nexport TOM_TOKEN={tom.bot.token}", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()
    except TomUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
