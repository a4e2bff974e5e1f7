"""The chart, rendered by helm itself and checked against Kubernetes' own schemas.

``make helm`` builds helm with Go, which takes minutes; without helm these tests are skipped, in CI
too: ``make chart-check`` is for whoever changes the chart.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmcoord.config import load_settings
from mmcoord.roles import ALL, roles_of
from tests.deploy.running import ROOT
from tests.deploy.test_containers import accepts

CHART = ROOT / "deploy" / "helm" / "mmcoord"
FOUND = shutil.which("helm") or str(ROOT / ".cache" / "helm" / "helm")
pytestmark = [
    pytest.mark.skipif(not Path(FOUND).exists(), reason="no helm here: see `make helm`"),
    pytest.mark.long,
]
KUBERNETES = "1.31"
SPLIT = {
    "database": {"url": "postgresql://mmcoord@db/mmcoord", "passwordSecret": "db"},
    "credentials": "brokers",
    "processes": {
        "main": None,
        "listen": {"roles": "listen"},
        "stages": {"roles": "stages", "resources": {"limits": {"cpu": "16", "memory": "32Gi"}}},
        "deliver": {"roles": "deliver"},
        "page": {"roles": "page", "replicas": 3},
    },
    "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls"},
    "backup": {"schedule": "0 12 * * *"},
}


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [FOUND, *arguments, f"--kube-version={KUBERNETES}"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def render(values: dict[str, Any], folder: Path, *more: str) -> list[dict[str, Any]]:
    (folder / "values.json").write_text(json.dumps(values))
    done = helm("template", "obs", str(CHART), "--values", str(folder / "values.json"), *more)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def refused(values: dict[str, Any], folder: Path) -> str:
    (folder / "values.json").write_text(json.dumps(values))
    done = helm("template", "obs", str(CHART), "--values", str(folder / "values.json"))
    assert done.returncode != 0
    return done.stderr


def pods(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pod of each workload."""
    found = []
    for document in documents:
        spec = document.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            found.append(spec["template"]["spec"])
    return found


def test_helm_finds_nothing_to_mend() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("values", "more"),
    [({}, ()), (SPLIT, ()), ({}, ("--values", str(CHART / "values-spin.yaml")))],
    ids=["one process", "split", "spin"],
)
def test_kubernetes_understands_what_comes_of_it(
    values: dict[str, Any], more: tuple[str, ...], tmp_path: Path
) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    documents = render(values, tmp_path, *more)
    assert {"ConfigMap", "Deployment", "Service", "PersistentVolumeClaim"} <= {
        document["kind"] for document in documents
    }
    for document in documents:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_kubernetes_would_not_understand_a_mistake(tmp_path: Path) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    (deployment,) = (d for d in render({}, tmp_path) if d["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["argz"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, KUBERNETES, strict=True)


@pytest.mark.parametrize("values", [{}, SPLIT], ids=["one process", "split"])
def test_pods_are_what_a_restricted_namespace_lets_in(
    values: dict[str, Any], tmp_path: Path
) -> None:
    """Kubernetes' "restricted" pod security standard, and nothing of the host."""
    for pod in pods(render(values, tmp_path)):
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["seccompProfile"]["type"] == "RuntimeDefault"
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert all("hostPath" not in volume for volume in pod["volumes"])
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False  # MMCOORD_SERVICE_HOST would be a setting
        for container in [*pod["containers"], *pod.get("initContainers", ())]:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["readOnlyRootFilesystem"] is True
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert {m["name"] for m in container["volumeMounts"]} <= {
                volume["name"] for volume in pod["volumes"]
            }


def test_mmcoord_takes_what_the_chart_gives_it(tmp_path: Path) -> None:
    documents = render(SPLIT, tmp_path)
    (config,) = (d for d in documents if d["kind"] == "ConfigMap")
    (tmp_path / "mmcoord.toml").write_text(config["data"]["mmcoord.toml"])
    found = set()
    for deployment in (d for d in documents if d["kind"] == "Deployment"):
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert accepts([str(argument) for argument in container["args"]])
        roles = roles_of(container["args"][container["args"].index("--roles") + 1])
        replicas = deployment["spec"]["replicas"]
        kind = deployment["spec"]["strategy"]["type"]
        assert (replicas, kind) == ((3, "RollingUpdate") if roles == {"page"} else (1, "Recreate"))
        found |= roles
        environment = {one["name"]: one["value"] for one in container["env"]}
        settings = load_settings(tmp_path / "mmcoord.toml", environment)
        assert settings.url == SPLIT["database"]["url"]
    assert found == ALL


def test_the_service_reaches_the_page_alone(tmp_path: Path) -> None:
    documents = render(SPLIT, tmp_path)
    (service,) = (d for d in documents if d["kind"] == "Service")
    wanted = service["spec"]["selector"].items()
    for deployment in (d for d in documents if d["kind"] == "Deployment"):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        is_page = labels["app.kubernetes.io/component"] == "page"
        assert (wanted <= labels.items()) == is_page


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"processes": {"main": {"roles": "listen,cook"}}}, "processes"),
        ({"processes": {"more": {"roles": "page"}}}, "PostgreSQL"),
        (SPLIT | {"processes": {"main": {"roles": "stages", "replicas": 2}}}, "page alone"),
        ({"database": {"url": "postgresql://mmcoord:secret@db/mmcoord"}}, "url"),
        ({"podSecurityContext": {"runAsNonRoot": False}}, "runAsNonRoot"),
        ({"ingres": {}}, "ingres"),
    ],
)
def test_values_that_cannot_work_are_refused_before_anything_is_installed(
    values: dict[str, Any], said: str, tmp_path: Path
) -> None:
    assert said in refused(values, tmp_path)
