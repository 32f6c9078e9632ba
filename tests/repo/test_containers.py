"""The container files call what exists: paths, packages, entry points, commands and options."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import tomllib  # type: ignore[import-not-found]  # Tests run on 3.11, the packages are checked for 3.10.
import yaml

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
OURS = ["ps", "api", "trainer"]
INSTRUCTIONS = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "RUN", "STOPSIGNAL", "USER", "WORKDIR"}


def instructions(path: Path) -> list[tuple[str, str]]:
    """Returns (instruction, arguments) of a container file, continued lines joined, comments dropped."""
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in joined)]


def values(path: Path, instruction: str) -> list[str]:
    """Returns the arguments of every `instruction` in a container file."""
    return [rest for name, rest in instructions(path) if name == instruction]


def entry_point(service: str) -> list[str]:
    """Returns the program that a service's image starts."""
    return json.loads(values(ROOT / SERVICES[service]["build"]["dockerfile"], "ENTRYPOINT")[-1])


def scripts() -> set[str]:
    """Returns the commands that our packages install."""
    manifests = [ROOT / package / "pyproject.toml" for package in ("client", "trainer")]
    return {script for path in manifests for script in tomllib.loads(path.read_text())["project"]["scripts"]}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_container_file_is_well_formed(path):
    names = [name for name, _ in instructions(path)]
    assert set(names) <= INSTRUCTIONS
    assert names[0] == "FROM"
    for image in values(path, "FROM"):
        assert re.fullmatch(r"[\w./-]+:[\w.-]*\d[\w.-]*( AS \w+)?", image), f"{image}: name a version"
    stages = [image.partition(" AS ")[2] for image in values(path, "FROM")]
    assert set(re.findall(r"from=(\w+)", path.read_text())) <= set(stages)
    assert values(path, "USER")[-1] not in {"root", "0"}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_copied_paths_exist_and_are_not_ignored(path):
    ignored = set((ROOT / ".dockerignore").read_text().split())
    for arguments in values(path, "COPY"):
        *sources, _ = [part for part in shlex.split(arguments) if not part.startswith("--")]
        for source in sources:
            assert (ROOT / source).exists()
            assert source not in ignored


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_built_packages_and_extras_exist(path):
    wheels = next(run for run in values(path, "RUN") if run.startswith("pip wheel"))
    for requirement in [part for part in shlex.split(wheels) if part.startswith("./")]:
        folder, _, extras = requirement.removeprefix("./").rstrip("]").partition("[")
        project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
        assert set(filter(None, extras.split(","))) <= set(project.get("optional-dependencies", {}))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_entry_point_is_a_script_of_ours(path):
    assert set(json.loads(values(path, "ENTRYPOINT")[-1])) <= scripts()


def test_services_name_what_exists():
    assert set(SERVICES) == {"redis", *OURS}
    for service in SERVICES.values():
        assert re.fullmatch(r"[\w./-]+:[\d.]+[\w.-]*", service["image"])
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        volumes = [volume.partition(":")[0] for volume in service.get("volumes", [])]
        assert set(volumes) <= set(COMPOSE["volumes"])
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    for name in OURS:
        build = SERVICES[name]["build"]
        assert ((DOCKER / build["context"]).resolve() / build["dockerfile"]) in DOCKERFILES


@pytest.mark.parametrize("name", OURS)
def test_service_commands_and_options_exist(name):
    arguments = SERVICES[name]["command"]
    words = [argument for argument in arguments[:2] if not argument.startswith("-")]
    options = [argument for argument in arguments if argument.startswith("-")]
    program = str(Path(sys.executable).parent / entry_point(name)[0])
    help_text = subprocess.run(
        [program, *words, "--help"], check=True, capture_output=True, text=True, env={"COLUMNS": "200", "PATH": ""}
    ).stdout
    assert not [option for option in options if not re.search(rf"(^|[\s,]){option}\b", help_text)]


def test_health_check_of_the_parameter_server_is_a_command_of_ours():
    check = SERVICES["ps"]["healthcheck"]["test"]
    assert check[:3] == ["CMD", "rowbank", "tables"]
    assert check[1] in scripts()
