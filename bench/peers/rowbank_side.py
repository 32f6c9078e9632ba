"""A client of Rowbank, by way of the `rowbank` package of the Python that runs this."""

from __future__ import annotations

import numpy as np

import rowbank

from .lines import serve
from .work import RATE, Work

_FILL_ROWS = 65_536


def main() -> None:
    """Fills the tables if this is the first client, then does what it is told."""
    work = Work.given()
    client = rowbank.Client(work.server["target"], timeout_s=60)
    if work.client == 0:
        for name in work.tables:
            _fill(client, work, name)
    batches, gradients = work.batches(), work.gradients()

    def pull(number: int) -> None:
        client.pull(dict.fromkeys(work.tables, batches[number]))

    def push(number: int) -> None:
        client.push(dict.fromkeys(work.tables, (batches[number], gradients)))

    def step(number: int) -> None:
        pull(number)
        push(number)

    table = client.table(work.tables[0])
    serve(
        {"pull": pull, "push": push, "step": step},
        lambda keys: table.pull(keys).tolist(),
        acts={"batch": lambda number: batches[number].tolist(), "flush": lambda: bool(client.flush() or True)},
    )


def _fill(client: rowbank.Client, work: Work, name: str) -> None:
    optimizer = rowbank.Adagrad(RATE) if work.optimizer == "adagrad" else rowbank.Adam(RATE)
    spec = rowbank.TableSpec(name, dim=work.dim, optimizer=optimizer, durability=work.server["durability"])
    table = client.create_table(spec)
    rows = np.random.default_rng(work.seed).standard_normal((_FILL_ROWS, work.dim), dtype=np.float32)
    for start in range(0, work.rows, _FILL_ROWS):
        keys = np.arange(start, min(start + _FILL_ROWS, work.rows))
        table.upsert(keys, rows[: len(keys)])


if __name__ == "__main__":
    main()
