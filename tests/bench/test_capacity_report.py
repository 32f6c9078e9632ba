"""Ratios, their ranges and the table of a shard's capacity."""

from __future__ import annotations

import pytest
from bench import capacity_report
from bench.capacity_cells import CELLS, Turn

PULL = next(cell for cell in CELLS if cell.name == "pull")
PULL_4 = next(cell for cell in CELLS if cell.name == "pull_4")


def figure(found, release, reference):
    return next(one for one in found if (one.subject, one.reference) == (release, reference))


def test_ratios_of_one_client_are_of_median_times():
    measured = {
        Turn("Rowbank relaxed", "pull", 1): [[0.001, 0.002, 0.009], [0.002, 0.002, 0.002], [0.004, 0.004, 0.004]],
        Turn("TensorFlow", "pull", 1): [[0.004] * 3, [0.003] * 3, [0.002] * 3],
        Turn("before relaxed", "pull", 1): [[0.006] * 3] * 3,
    }
    wire = {turn: float(number) for number, turn in enumerate(measured)}
    found = capacity_report.figures([PULL], measured, wire, rows=100)
    one = figure(found, "Rowbank", "TensorFlow")
    assert one.ratio == pytest.approx(1.5)  # 2 ms beside 3.
    assert one.at_least == 1.3
    assert one.verdict == "reached"
    assert one.detail["lowest"] == pytest.approx(0.5)
    assert one.detail["highest"] == pytest.approx(2.0)
    assert one.detail["subject_ms"] == pytest.approx(2.0)
    assert (one.detail["subject_wire_bytes"], one.detail["reference_wire_bytes"]) == (0.0, 1.0)
    assert figure(found, "Rowbank", "before").ratio == pytest.approx(3.0)
    assert figure(found, "before", "TensorFlow").at_least is None


def test_ratios_of_several_clients_are_of_rates():
    measured = {
        Turn("Rowbank relaxed", "pull", 4): [[300.0], [400.0]],
        Turn("torch RPC", "pull", 4): [[100.0], [100.0]],
    }
    found = capacity_report.figures([PULL_4], measured, {}, rows=10)
    assert [one.reference for one in found] == ["torch RPC"]
    assert found[0].ratio == pytest.approx(3.5)
    assert found[0].detail["subject_rows_per_s"] == pytest.approx(3500)


def test_the_table_has_what_was_measured_and_a_dash_for_what_was_not():
    measured = {
        Turn("Rowbank relaxed", "pull", 1): [[0.001]],
        Turn("TensorFlow", "pull", 1): [[0.002]],
    }
    lines = capacity_report.as_grid([PULL, PULL_4], measured, rows=10).splitlines()
    assert len(lines) == 2
    assert "2.00 (2.00-2.00)" in lines[1]
    assert lines[1].count(" - ") == 4
