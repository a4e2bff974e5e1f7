"""Settings: safe defaults, clear errors, no secrets in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmcoord.config import Settings, load_settings, secret
from mmcoord.errors import ConfigError


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mmcoord.toml"
    path.write_text(text)
    return path


def test_with_nothing_set_nothing_outside_is_touched() -> None:
    settings = load_settings(None, {})
    assert settings == Settings()
    assert settings.url.startswith("sqlite:///")
    assert settings.web.host == "127.0.0.1"
    assert not settings.listeners
    assert not settings.sinks


def test_file_and_environment_are_laid_over_the_defaults(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        database_url = "postgresql://u@h/d"
        [web]
        port = 1
        [plan]
        instruments = ["ztf", "soar"]
        [listeners.gcn]
        transport = "gcn"
        source = "igwn"
        topics = ["igwn.gwalert"]
        group_id = "g"
        options = { client_id = "c", client_secret_env = "S" }
        [sinks.tom]
        kind = "tom"
        practice = false
        options = { url = "https://tom.invalid" }
        """,
    )
    settings = load_settings(path, {"MMCOORD_WEB__PORT": "2", "MMCOORD_DATA_DIR": "d", "HOME": "x"})
    assert (settings.web.port, settings.data_dir) == (2, "d")
    assert settings.plan.instruments == ("ztf", "soar")
    assert settings.listeners["gcn"].topics == ("igwn.gwalert",)
    assert settings.sinks["tom"].practice is False


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colour = 1", ["unknown key 'colour'", "database_url"]),
        ("[web]\nport = 'x'", ["web", "port", "'x'", "int"]),
        ("[web]\nport = true", ["port"]),
        ("web = 3", ["web", "table"]),
        ("clock = 'sundial'", ["sundial"]),
        ("[listeners.a]\ntransport = 'gcn'", ["listeners.a", "source"]),
        (
            "[sinks.s]\nkind = 'slack'\noptions = { webhook = 'https://x' }",
            ["secret", "webhook_env"],
        ),
        ("x = ", ["mmcoord.toml"]),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: list[str]) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_settings(path, {})
    for word in [*words, "mmcoord.toml"] if "sundial" not in text else words:
        assert word in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load_settings(tmp_path / "nowhere.toml", {})


def test_a_secret_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from file\n")
    assert secret({"token_env": "T"}, "token", {"T": "from env"}) == "from env"
    assert secret({"token_file": str(file)}, "token", {}) == "from file"
    assert secret({}, "token", {}) is None
    with pytest.raises(ConfigError, match="T is not set"):
        secret({"token_env": "T"}, "token", {})
    with pytest.raises(ConfigError, match="nowhere"):
        secret({"token_file": str(tmp_path / "nowhere")}, "token", {})
