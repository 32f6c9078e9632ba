"""Every case from the field comes out right."""

from __future__ import annotations

import pytest
from tests.field.case import Case, World
from tests.field.catalogue import cases


@pytest.mark.parametrize(
    ("kind", "case"), [pytest.param(kind, case, id=f"{kind}-{case.name}") for kind, case in cases()]
)
def test_case(kind: str, case: Case, up, tmp_path, table_name):
    outcome = case.outcome(World(up.target, up.http_url, tmp_path, table_name.replace("-", "_")[-40:]))
    assert case.holds(outcome), f"{kind}: {case.name}: got {outcome!r}, right is {case.right!r}"
