"""Who a client is, and what numbers mean."""

from __future__ import annotations

from tests.field.case import Case, World

from rowbank import Client, TableSpec


def _restrict_beyond_int64(world: World) -> str:
    with Client(world.target) as client:
        table = client.create_table(TableSpec(world.name, dim=2))
        try:
            table.restrict(2**70)
        finally:
            client.drop_table(world.name)
    return "accepted"


CASES = [
    Case("restrict(2**70)", r"(InvalidRequest: .*num_reserved.*1180591620717411303424.*)", _restrict_beyond_int64),
]
