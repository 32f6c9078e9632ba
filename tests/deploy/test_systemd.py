"""The units fit systemd and the servers' settings."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rowbank_server.settings import ApiSettings, PsSettings, UpSettings, variable
from rowbank_server.settings.common import OTHER_VARIABLES

UNITS = sorted((Path(__file__).parents[2] / "deploy" / "systemd").glob("*.service"))
KNOWN = {variable(cls, name) for cls in (PsSettings, ApiSettings, UpSettings) for name in cls.model_fields}
PROGRAM = "/opt/rowbank/bin/rowbank"


def lines(unit: Path) -> list[tuple[str, str]]:
    """Keys and values, those that are commented out, too."""
    found = re.findall(r"^#?([A-Z]\w+)=(.*)$", unit.read_text(), re.MULTILINE)
    return [(key, value.strip()) for key, value in found]


def values(unit: Path, key: str) -> list[str]:
    return [value for name, value in lines(unit) if name == key]


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed (Debian: systemd)"
)
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
@pytest.mark.parametrize("commented", [False, True], ids=["as it is", "with what is commented out"])
def test_systemd_takes_it(unit, commented, tmp_path):
    text = unit.read_text().replace(PROGRAM, str(Path(sys.executable).parent / "rowbank"))
    if commented:
        text = re.sub(r"^#(?=[A-Z]\w+=)", "", text, flags=re.MULTILINE)
    copy = tmp_path / unit.name.replace("@", "@0")
    copy.write_text(text)
    told = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False, timeout=60)
    mine = [line for line in told.stderr.splitlines() if "rowbank" in line]
    assert (told.returncode, mine) == (0, []), told.stderr


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed (Debian: systemd)"
)
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_little_is_left_to_break(unit, tmp_path):
    """systemd's own measure, from 10 (everything) to 0 (nothing); below 2 it says OK."""
    copy = tmp_path / unit.name.replace("@", "@0")
    shutil.copy(unit, copy)
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", copy]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert told.returncode == 0, told.stdout[-300:] + told.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_it_runs_a_command_of_ours_with_settings_of_ours(unit):
    role = "ps" if "ps" in unit.name else "api"
    assert values(unit, "ExecStart") == [f"{PROGRAM} serve {role}"]
    named = {word.partition("=")[0] for value in values(unit, "Environment") for word in value.split()}
    assert named <= KNOWN | OTHER_VARIABLES
    copied = {value.partition(":")[0] for value in values(unit, "LoadCredential")}
    assert set(re.findall(r"%d/([\w.-]+)", unit.read_text())) == copied


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_its_end_is_longer_than_its_drain_and_it_starts_again(unit):
    role, waits = (PsSettings, 2) if "ps" in unit.name else (ApiSettings, 1)
    (stop_s,) = values(unit, "TimeoutStopSec")
    assert float(stop_s) > waits * role.model_fields["drain_timeout_s"].default
    assert (values(unit, "Restart"), values(unit, "RestartPreventExitStatus")) == (["on-failure"], ["2"])
    assert int(values(unit, "LimitNOFILE")[0]) >= 65536
