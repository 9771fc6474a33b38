"""The Helm chart: its values, and what it makes of them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from aquila_mde.settings import load_settings
from aquila_mde.streams.tree import PackageTree

ROOT = PackageTree.default().root
CHART = ROOT / "deploy" / "helm" / "aquila-mde"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
TENANT = {
    "id": "00000000-0000-0000-0000-000000000000",
    "client_id": "11111111-1111-1111-1111-111111111111",
    "certificate": "/run/secrets/aquila-mde/aquila.pem",
}
OTHER = "22222222-2222-2222-2222-222222222222"
SETTINGS = {
    "tenant": TENANT,
    "elasticsearch": {"url": "https://elasticsearch.example.com:9200"},
    "streams": {"hunting": {"enabled": True}},
}
FREE = {"settings", "resources", "labels"}
"""What stands below them is somebody else's."""
Object = dict[str, Any]


def paths(values: Object, before: str = "") -> Iterator[str]:
    """The dotted names of all values."""
    for name, value in values.items():
        if isinstance(value, dict) and value and name not in FREE:
            yield from paths(value, f"{before}{name}.")
        else:
            yield f"{before}{name}"


def declared(schema: Object, before: str = "") -> Iterator[str]:
    """The dotted names of what values.schema.json allows."""
    for name, value in schema["properties"].items():
        if value.get("additionalProperties") is False:
            yield from declared(value, f"{before}{name}.")
        else:
            yield f"{before}{name}"


def test_it_is_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    version = yaml.safe_load((ROOT / "manifest.yml").read_text(encoding="utf-8"))["version"]
    assert (chart["version"], chart["appVersion"]) == (version, version)


def test_every_value_is_used_and_allowed_and_no_other() -> None:
    templates = "".join(
        file.read_text(encoding="utf-8") for file in (CHART / "templates").iterdir()
    )
    used = set(re.findall(r"\.Values\.([A-Za-z.]+)", templates))
    assert used == set(paths(VALUES))
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    # Helm itself puts "global" beside what is said.
    assert set(declared(schema)) - {"global"} == used


def test_the_port_is_the_one_of_the_image() -> None:
    dockerfile = (ROOT / "deploy" / "docker" / "Dockerfile").read_text(encoding="utf-8")
    assert f"EXPOSE {VALUES['monitoring']['port']}\n" in dockerfile
    user = re.findall(r"^USER (\d+):\1$", dockerfile, re.MULTILINE)
    chart = (CHART / "templates" / "statefulset.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"(?:runAsUser|runAsGroup|fsGroup): (\d+)", chart)) == set(user)


def helm(folder: Path, **values: Any) -> subprocess.CompletedProcess[str]:
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    command = ["helm", "template", "blue", str(CHART), "--values", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def rendered(folder: Path, **values: Any) -> dict[str, Object]:
    """Each object by its kind."""
    done = helm(folder, **{"settings": SETTINGS} | values)
    assert done.returncode == 0, done.stderr
    objects = [each for each in yaml.safe_load_all(done.stdout) if each]
    assert len({each["kind"] for each in objects}) == len(objects)
    return {each["kind"]: each for each in objects}


def pod_of(objects: dict[str, Object]) -> Object:
    spec: Object = objects["StatefulSet"]["spec"]["template"]["spec"]
    return spec


@pytest.mark.helm
def test_helm_finds_nothing_to_complain_of() -> None:
    command = ["helm", "lint", "--strict", str(CHART)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.helm
@pytest.mark.parametrize("kind", ["file", "elasticsearch"])
def test_the_collector_takes_the_settings_that_it_gets(tmp_path: Path, kind: str) -> None:
    objects = rendered(tmp_path, state={"kind": kind}, monitoring={"port": 9999})
    (container,) = pod_of(objects)["containers"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    file = Path(environment.pop("AQUILA_CONFIG"))
    assert mounts[str(file.parent)] == "settings"
    copy = tmp_path / file.name
    copy.write_text(objects["ConfigMap"]["data"][file.name], encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        settings = load_settings(copy).only()
    assert settings.tenant.client_id == TENANT["client_id"]
    assert settings.stream("hunting").enabled is True
    assert (settings.monitoring.port, settings.monitoring.address) == (9999, "0.0.0.0")
    claims = objects["StatefulSet"]["spec"].get("volumeClaimTemplates", [])
    if kind == "file":
        assert mounts[str(Path(str(settings.state)).parent)] == claims[0]["metadata"]["name"]
    else:
        assert (settings.state, claims) == ("elasticsearch", [])


@pytest.mark.helm
def test_a_list_of_tenants_takes_the_place_of_the_one(tmp_path: Path) -> None:
    both = [TENANT | {"namespace": "one"}, TENANT | {"id": OTHER, "namespace": "two"}]
    without = {name: value for name, value in SETTINGS.items() if name != "tenant"}
    objects = rendered(tmp_path, settings=without | {"tenants": both})
    file = tmp_path / "aquila.yml"
    file.write_text(objects["ConfigMap"]["data"][file.name], encoding="utf-8")
    names = [each.tenant.namespace for each in load_settings(file, {}).each]
    assert names == ["one", "two"]


@pytest.mark.helm
def test_the_pod_has_no_rights_and_nothing_but_its_state_to_write_to(tmp_path: Path) -> None:
    pod = pod_of(rendered(tmp_path, secret={"files": "certificate", "environment": "login"}))
    (container,) = pod["containers"]
    rights = pod["securityContext"] | container["securityContext"]
    assert rights["runAsNonRoot"] is rights["readOnlyRootFilesystem"] is True
    assert rights["allowPrivilegeEscalation"] is pod["automountServiceAccountToken"] is False
    assert rights["capabilities"] == {"drop": ["ALL"]}
    assert rights["seccompProfile"] == {"type": "RuntimeDefault"}
    writable = {m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")}
    assert writable == {"/tmp", "/var/lib/aquila-mde"}
    assert container["envFrom"] == [{"secretRef": {"name": "login"}}]
    secrets = {v["name"]: v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v}
    assert secrets == {"secrets": "certificate"}
    assert "limits" in container["resources"]
    # Every volume that is mounted is there, and each probe asks a port that there is.
    volumes = {volume["name"] for volume in pod["volumes"]} | {"state"}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness")}
    assert {each["path"] for each in probes.values()} == {"/healthz"}
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    ports = {port["name"] for port in container["ports"]}
    assert {each["port"] for each in probes.values()} == ports


@pytest.mark.helm
def test_what_is_selected_is_what_there_is(tmp_path: Path) -> None:
    monitor = {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}}
    objects = rendered(tmp_path, monitoring=monitor)
    pod = objects["StatefulSet"]["spec"]["template"]["metadata"]["labels"].items()
    service = objects["Service"]
    assert objects["StatefulSet"]["spec"]["selector"]["matchLabels"].items() <= pod
    assert service["spec"]["selector"].items() <= pod
    watch = objects["ServiceMonitor"]
    assert watch["metadata"]["labels"]["release"] == "prometheus"
    assert watch["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert watch["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    assert "ServiceMonitor" not in rendered(tmp_path)


@pytest.mark.helm
def test_other_settings_make_another_pod(tmp_path: Path) -> None:
    def pod(**settings: Any) -> Object:
        objects = rendered(tmp_path, settings=SETTINGS | settings)
        found: Object = objects["StatefulSet"]["spec"]["template"]
        return found

    assert pod() == pod()
    assert pod() != pod(log_level="debug")


@pytest.mark.helm
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"settings": {"tenant": {"client_secret": "geheim"}}}, "settings hold client_secret"),
        ({"settings": {"tenants": [{"client_secret": "geheim"}]}}, "settings hold client_secret"),
        ({"settings": {"elasticsearch": {"api_key": "geheim"}}}, "settings hold api_key"),
        ({"settings": {"kibana": {"password": "geheim"}}}, "settings hold password"),
        ({"settings": {"state": "elasticsearch"}}, "use state.kind"),
        ({"settings": {"monitoring": {"port": 1}}}, "use monitoring.port"),
        ({"state": {"kind": "disk"}}, "'file', 'elasticsearch'"),
        ({"monitor": {}}, "'monitor' not allowed"),
    ],
)
def test_values_that_are_wrong_are_told(tmp_path: Path, values: Object, said: str) -> None:
    done = helm(tmp_path, **values)
    assert done.returncode != 0
    assert said in done.stderr
    assert "geheim" not in done.stdout + done.stderr
