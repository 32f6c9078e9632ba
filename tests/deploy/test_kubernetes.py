"""The manifests fit the API's schemas, each other, and the settings, routes and figures of the servers."""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from rowbank_server.ps.http.app import ROUTES
from rowbank_server.settings import ApiSettings, PsSettings, UpSettings, variable

ROOT = Path(__file__).parents[2] / "deploy" / "kubernetes"
OLDEST = "1.31"  # The first with all fields that are used.
KNOWN = {variable(cls, name) for cls in (PsSettings, ApiSettings, UpSettings) for name in cls.model_fields}


def documents(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


def merged(old: Any, new: Any) -> Any:
    """As a strategic merge: maps by key, lists of named things by name, other lists replaced."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {key: merged(old[key], new[key]) if key in old and key in new else new.get(key, old.get(key))
                for key in [*old, *(one for one in new if one not in old)]}  # fmt: skip
    if isinstance(old, list) and isinstance(new, list) and all(isinstance(one, dict) and "name" in one for one in new):
        by_name = {one["name"]: one for one in new}
        kept = [merged(one, by_name.pop(one["name"])) if one["name"] in by_name else one for one in old]
        return [*kept, *by_name.values()]
    return new


def base() -> list[dict[str, Any]]:
    listed = documents(ROOT / "base" / "kustomization.yaml")[0]["resources"]
    return [one for name in listed for one in documents(ROOT / "base" / name)]


def with_standbys() -> list[dict[str, Any]]:
    """What the overlay makes of it."""
    (pair,) = documents(ROOT / "standby" / "pair.yaml")
    change = {key: value for key, value in pair.items() if key != "metadata"}
    found = [*base(), *documents(ROOT / "standby" / "second.yaml")]
    return [merged(one, change) if one["kind"] == "StatefulSet" else one for one in deepcopy(found)]


ALL = [*base(), *with_standbys(), *documents(ROOT / "secrets.example.yaml")]


def pods(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one["spec"]["template"] for one in found if "template" in one.get("spec", {})}


PODS = {**pods(base()), **{f"{name} (standby)": pod for name, pod in pods(with_standbys()).items()}}


def container(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod["spec"]["containers"]
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
def test_everything_fits_the_schemas(version):
    for one in ALL:
        kubernetes_validate.validate(one, version, strict=True)
    broken = deepcopy(base()[0])
    broken["spec"]["portz"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, version, strict=True)


def test_what_is_referred_to_exists():
    for folder in ("base", "standby"):
        (listed,) = documents(ROOT / folder / "kustomization.yaml")
        for name in [*listed["resources"], *(one["path"] for one in listed.get("patches", []))]:
            assert (ROOT / folder / name).exists()
    secrets = {one["metadata"]["name"]: set(one["stringData"]) for one in documents(ROOT / "secrets.example.yaml")}
    (listed,) = documents(ROOT / "base" / "kustomization.yaml")
    (made,) = listed["configMapGenerator"]
    keys = {literal.partition("=")[0] for literal in made["literals"]}
    for pod in PODS.values():
        env = container(pod)["env"]
        for one in env:
            source = one.get("valueFrom", {})
            if "secretKeyRef" in source:
                assert source["secretKeyRef"]["key"] in secrets[source["secretKeyRef"]["name"]]
            if "configMapKeyRef" in source:
                assert source["configMapKeyRef"]["name"] == made["name"]
                assert source["configMapKeyRef"]["key"] in keys
        volumes = {one["name"]: one for one in pod["spec"]["volumes"]}
        mounts = {one["mountPath"]: volumes[one["name"]] for one in container(pod)["volumeMounts"]}
        for one in env:
            path = Path(str(one.get("value", "")))
            if str(path).startswith("/etc/rowbank"):
                assert path.name in secrets[mounts[str(path.parent)]["secret"]["secretName"]]


def test_variables_are_settings_and_come_before_they_are_used():
    for pod in PODS.values():
        seen: set[str] = set()
        for one in container(pod)["env"]:
            assert not one["name"].startswith("ROWBANK_") or one["name"] in KNOWN
            assert set(re.findall(r"\$\((\w+)\)", one.get("value", ""))) <= seen
            seen.add(one["name"])
        assert len(seen) == len(container(pod)["env"])


@pytest.mark.parametrize("name", PODS)
def test_a_pod_has_the_rights_of_nobody(name):
    pod = PODS[name]
    mine, all_of_it = container(pod)["securityContext"], pod["spec"]["securityContext"]
    assert (mine["allowPrivilegeEscalation"], mine["readOnlyRootFilesystem"]) == (False, True)
    assert mine["capabilities"] == {"drop": ["ALL"]}
    assert (all_of_it["runAsNonRoot"], all_of_it["seccompProfile"]["type"]) == (True, "RuntimeDefault")
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert "memory" in container(pod)["resources"]["limits"]
    dockerfile = (ROOT.parents[1] / "docker" / "server.Dockerfile").read_text()
    assert f"--uid {all_of_it['runAsUser']} " in dockerfile
    # Nothing listens beyond the machine without TLS and tokens.
    names = {one["name"] for one in container(pod)["env"]}
    assert {"ROWBANK_TLS_CERTIFICATE", "ROWBANK_TLS_KEY", "ROWBANK_REQUIRE_TOKENS"} <= names
    assert "ROWBANK_INSECURE" not in names


@pytest.mark.parametrize("name", PODS)
def test_its_end_is_longer_than_its_drain(name):
    pod = PODS[name]
    role, waits = (ApiSettings, 1) if "api" in name else (PsSettings, 2)
    drain_s = waits * role.model_fields["drain_timeout_s"].default
    hook = container(pod).get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
    assert pod["spec"]["terminationGracePeriodSeconds"] > drain_s + float(hook[1])


@pytest.mark.parametrize("name", PODS)
def test_probes_and_ports_are_those_of_the_server(name):
    mine = container(PODS[name])
    role = mine["args"][1]
    assert mine["args"] == ["serve", role]
    binds = {one["name"]: one["value"] for one in mine["env"] if one["name"].endswith("BIND")}
    names = {"ps": {"grpc": "ROWBANK_PS_BIND", "http": "ROWBANK_PS_HTTP_BIND"},
             "api": {"http": "ROWBANK_API_BIND", "grpc": "ROWBANK_API_GRPC_BIND"}}[role]  # fmt: skip
    ports = {one["name"]: one["containerPort"] for one in mine["ports"]}
    assert {port: f"0.0.0.0:{ports[port]}" for port in names} == {port: binds[name] for port, name in names.items()}
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = mine[kind]["httpGet"]
        assert (asked["port"], asked["scheme"]) == ("http", "HTTPS")
        assert asked["path"].partition("?")[0] in ROUTES
    services = {one["metadata"]["name"]: one for one in base() if one["kind"] == "Service"}
    service = services["rowbank-api" if role == "api" else "rowbank-ps"]
    assert {one["name"]: one["port"] for one in service["spec"]["ports"]} == ports
    assert service["spec"]["selector"].items() <= PODS[name]["metadata"]["labels"].items()


def test_as_many_pods_as_shards_under_the_names_that_others_ask():
    for folder, sets in (("base", ["rowbank-ps"]), ("standby", ["rowbank-ps", "rowbank-ps-second"])):
        literals = {}
        for source in ("base", folder):
            (listed,) = documents(ROOT / source / "kustomization.yaml")
            literals.update(dict(one.split("=", 1) for one in listed["configMapGenerator"][0]["literals"]))
        found = base() if folder == "base" else with_standbys()
        shards = [one for one in found if one["kind"] == "StatefulSet"]
        assert [one["metadata"]["name"] for one in shards] == sets
        assert {one["spec"]["replicas"] for one in shards} == {int(literals["shards"])}
        domain = f"rowbank-ps.{listed['namespace']}.svc:7700"
        expected = ["|".join(f"{one}-{index}.{domain}" for one in sets) for index in range(int(literals["shards"]))]
        assert literals["targets"] == ",".join(expected)
        advertised = next(one for one in container(PODS["rowbank-ps"])["env"] if one["name"] == "ROWBANK_PS_ADVERTISE")
        assert advertised["value"] == "$(POD_NAME).rowbank-ps.$(POD_NAMESPACE).svc:7700"


def test_the_second_set_is_the_first_but_for_its_name():
    first = (ROOT / "base" / "parameter-server.yaml").read_text().split("---\n")[1]
    second = (ROOT / "standby" / "second.yaml").read_text().partition("\n")[2]
    assert second == first.replace("  name: rowbank-ps\n", "  name: rowbank-ps-second\n", 1).replace(
        "rowbank/set: first", "rowbank/set: second"
    )
    env = {one["name"]: one.get("value") for one in container(pods(with_standbys())["rowbank-ps-second"])["env"]}
    assert env["ROWBANK_PS_STANDBY"] == "true"


def test_one_shard_at_a_time_is_disturbed():
    budgets = {one["metadata"]["name"]: one["spec"] for one in base() if one["kind"] == "PodDisruptionBudget"}
    assert budgets["rowbank-ps"]["maxUnavailable"] == 1
    for name, budget in budgets.items():
        assert budget["selector"]["matchLabels"].items() <= PODS[name]["metadata"]["labels"].items()
