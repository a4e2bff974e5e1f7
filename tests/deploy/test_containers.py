"""Image and compose file, as far as they can be checked without a container runtime.

No image is built here: the base images come from a registry. What can be known from the files
is: compose's own grammar, that what is copied exists, and that mmcoord takes the commands,
settings and variables that they give it.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from typer.testing import CliRunner

from mmcoord.cli import app
from mmcoord.config import load_settings
from mmcoord.stages.context import load_sinks, load_sources
from tests.deploy.running import ROOT

DOCKER = ROOT / "deploy" / "docker"
COMPOSE = (DOCKER / "compose.yaml").read_text()


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [(word, rest.strip()) for word, _, rest in (x.partition(" ") for x in lines if x)]


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE)["services"]
    return found


def accepts(arguments: list[str]) -> bool:
    """Whether the command line has these options: asked for its help, it parses the rest."""
    return CliRunner().invoke(app, [*arguments, "--help"]).exit_code == 0 and all(
        option in CliRunner().invoke(app, [arguments[0], "--help"]).output
        for option in arguments
        if option.startswith("--")
    )


@pytest.mark.parametrize("folder", [DOCKER, DOCKER / "tom"], ids=["mmcoord", "tom"])
def test_the_image_does_not_run_as_root_and_copies_what_exists(folder: Path) -> None:
    found = instructions(folder / "Dockerfile")
    context = ROOT if folder == DOCKER else folder
    users = [rest for word, rest in found if word == "USER"]
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", users[-1])  # numbers: Kubernetes checks them
    assert {word for word, _ in found} <= {
        "ARG", "FROM", "ENV", "WORKDIR", "RUN", "COPY", "USER", "EXPOSE", "HEALTHCHECK",
        "ENTRYPOINT", "CMD",
    }  # fmt: skip
    for word, rest in found:
        if word == "COPY" and "--from" not in rest:
            *sources, _ = rest.split()
            assert all((context / source).exists() for source in sources), rest
        if word == "FROM":
            assert ":" in rest
        if word == "RUN":
            parsed = subprocess.run(["sh", "-n", "-c", rest], capture_output=True, text=True)
            assert parsed.returncode == 0, parsed.stderr


def test_the_image_s_context_holds_what_it_copies_and_no_secret() -> None:
    kept = {
        line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }  # fmt: skip
    copied = {
        source
        for word, rest in instructions(DOCKER / "Dockerfile")
        if word == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    }
    assert kept == copied


def test_mmcoord_takes_what_the_image_gives_it() -> None:
    found = instructions(DOCKER / "Dockerfile")
    environment = dict(
        part.split("=", 1) for word, rest in found if word == "ENV" for part in shlex.split(rest)
    )
    assert load_settings(None, environment).data_dir == "/var/lib/mmcoord"
    (command,) = (yaml.safe_load(rest) for word, rest in found if word == "CMD")
    assert accepts(command)
    (extras,) = (
        rest.split("=")[1] for word, rest in found if word == "ARG" and rest.startswith("EXTRAS")
    )
    import tomllib

    offered = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras.split(",")) <= set(offered["optional-dependencies"])


def test_the_health_check_of_the_image_is_true_only_where_the_service_answers() -> None:
    import sys

    (check,) = (r for w, r in instructions(DOCKER / "Dockerfile") if w == "HEALTHCHECK")
    _, *rest = yaml.safe_load(check[check.index("CMD") + 4 :])
    script = rest[1].replace("8765", "9")  # where nobody answers
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode != 0


def test_compose_understands_its_file() -> None:
    compose = pytest.importorskip("compose_spec", reason="compose-spec is not installed").PyCompose
    read = compose.from_yaml(COMPOSE)
    read.validate()
    read.to_spec()
    assert set(read.service_names()) == {"mmcoord", "db", "kafka", "topics", "tom"}


def test_compose_would_not_understand_a_mistake() -> None:
    compose = pytest.importorskip("compose_spec", reason="compose-spec is not installed").PyCompose
    for right, wrong in (
        ("    restart: unless-stopped", "    restart: sometimes"),
        ("condition: service_healthy", "condition: well"),
        ("secrets: [db_password]", "secrets: [no_such]"),
    ):
        with pytest.raises((ValueError, TypeError)):
            compose.from_yaml(COMPOSE.replace(right, wrong)).validate()


def test_compose_mounts_what_exists_and_publishes_to_this_machine_alone() -> None:
    document = yaml.safe_load(COMPOSE)
    for service in document["services"].values():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:")
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            here = source.startswith(".")
            assert (DOCKER / source).exists() if here else source in document["volumes"]
    made = (DOCKER / "secrets.sh").read_text()
    assert all(f"secrets/{name}" in made for name in document["secrets"])


def test_mmcoord_takes_the_command_the_variables_and_the_settings_of_compose() -> None:
    service = services()["mmcoord"]
    assert accepts(service["command"])
    settings = load_settings(DOCKER / "mmcoord.toml", service["environment"])
    assert settings.url.startswith("postgresql://mmcoord@db/")
    for listener in settings.listeners.values():
        assert listener.source in load_sources()
    token = next(v for k, v in settings.sinks["tom"].options.items() if k == "token_file")
    assert token.removeprefix("/run/secrets/") in service["secrets"]


def test_the_sinks_of_compose_are_built_from_its_secrets(tmp_path: Path) -> None:
    (tmp_path / "tom_token").write_text("0123")
    text = (DOCKER / "mmcoord.toml").read_text().replace("/run/secrets", str(tmp_path))
    (tmp_path / "mmcoord.toml").write_text(text)
    with httpx.Client() as client:
        sinks = load_sinks(load_settings(tmp_path / "mmcoord.toml", {}), client)
    assert set(sinks) == {"tom", "results"}


def test_secrets_are_made_once_and_the_password_is_the_same_on_both_sides(tmp_path: Path) -> None:
    script = tmp_path / "secrets.sh"
    script.write_text((DOCKER / "secrets.sh").read_text())
    before = {}
    for _ in range(2):
        subprocess.run(["sh", str(script)], check=True, capture_output=True)
        found = {p.name: p.read_text() for p in (tmp_path / "secrets").iterdir()}
        assert before in ({}, found)
        before = found
    assert set(found) == set(yaml.safe_load(COMPOSE)["secrets"])
    assert re.fullmatch("[0-9a-f]{40}", found["db_password"])
    assert found["pgpass"] == f"db:5432:mmcoord:mmcoord:{found['db_password']}\n"
    assert (tmp_path / "secrets" / "pgpass").stat().st_mode & 0o077 == 0  # else libpq ignores it
