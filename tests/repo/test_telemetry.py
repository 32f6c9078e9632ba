"""Nothing of ours tells anybody about the machine: libraries that would are told not to."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["rowbank_server.registry.towers", "rowbank_trainer.recommending.version"])
def test_towers_are_run_without_a_record_of_it(tmp_path, module):
    """Else onnxruntime keeps what it is about to send in a database below the user's cache folder."""
    program = f"import {module}, onnxruntime, os\nprint(os.environ['ORT_DISABLE_TELEMETRY'], onnxruntime.__version__)"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "TMPDIR"):
        environment[name] = str(tmp_path)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("1 ")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
