"""spin searches every run of the model of a shard: the claims hold, and each fault that is seeded breaks one."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess

import pytest
from tests.model import checker

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("spin") and shutil.which("cc")),
        reason="no spin, or no C compiler, on PATH, so the model is not checked; on Debian: apt-get install spin gcc",
    ),
]
checked = functools.cache(checker.check)


@pytest.mark.parametrize("name", checker.CONFIGURATIONS)
def test_no_run_of_the_model_breaks_a_claim(name):
    outcome = checked(name)
    assert not outcome.violated, outcome.output
    assert outcome.complete, outcome.output
    assert outcome.states > 10_000


def test_every_step_of_the_model_is_taken_somewhere():
    """A step that never happens would make every claim about it true."""
    unreached = frozenset.intersection(*(checked(name).unreached for name in checker.CONFIGURATIONS))
    assert not unreached


@pytest.mark.parametrize("fault", checker.FAULTS)
def test_each_seeded_fault_is_found(fault):
    configuration, claim = checker.FAULTS[fault]
    outcome = checker.check(configuration, fault)
    assert checker.breaks(outcome, claim), outcome.output


def test_every_fault_in_the_model_is_one_that_is_looked_for():
    named = set(re.findall(r"FAULT_(\w+)", checker.MODEL.read_text().partition("*/")[2]))
    assert named == checker.FAULTS.keys()


def test_every_claim_has_a_fault_that_breaks_it():
    assert {claim for _, claim in checker.FAULTS.values()} == checker.SAID.keys()


def test_a_model_that_spin_does_not_understand_is_no_success(monkeypatch, tmp_path):
    wrong = tmp_path / "shard.pml"
    wrong.write_text("active proctype one() { assert(unknown) }\n")
    monkeypatch.setattr(checker, "MODEL", wrong)
    with pytest.raises(subprocess.CalledProcessError):
        checker.check("cold")
