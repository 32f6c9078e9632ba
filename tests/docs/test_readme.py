"""The README's program does what the README says, against a real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def test_program_creates_trains_and_shrinks_a_table(target, tmp_path):
    """Adagrad from 0.1: gradients of 1 move by 0.1 / sqrt(1.1) = 0.0953, then by 0.1 / sqrt(2.1) = 0.0690."""
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len([line for line in program.splitlines() if line.strip()]) <= 15
    script = tmp_path / "program.py"
    script.write_text(program)
    environment = {**os.environ, "ROWBANK_TARGETS": target}
    done = subprocess.run([sys.executable, str(script)], check=True, capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines() == [
        "1000 rows; the first moved by 0.1644, the last by 0.0953",
        "evicted 900, 100 left, 100 of them the first 100",
    ]
