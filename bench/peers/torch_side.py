"""A client, or the server, of embedding tables over torch's RPC (torch.distributed.rpc)."""

from __future__ import annotations

import torch
import torch.distributed.rpc as rpc

from . import torch_store
from .lines import serve
from .work import Work


def main() -> None:
    """The client of the number -1 is the server."""
    work = Work.given()
    torch.set_num_threads(work.cores if work.client < 0 else 1)
    if work.client < 0:
        torch_store.make_tables(work)
        torch_store.join(work, torch_store.SERVER, 0)
        rpc.shutdown(graceful=True)
        return
    torch_store.join(work, f"client{work.client}", 1 + work.client)
    batches = [torch.from_numpy(batch) for batch in work.batches()]
    gradients = [torch.from_numpy(work.gradients()) for _ in work.tables]
    tables = list(work.tables)

    def pull(number: int) -> list[torch.Tensor]:
        rows: list[torch.Tensor] = rpc.rpc_sync(torch_store.SERVER, torch_store.pull, args=(tables, batches[number]))
        return rows

    def push(number: int) -> None:
        rpc.rpc_sync(torch_store.SERVER, torch_store.push, args=(tables, batches[number], gradients))

    def step(number: int) -> None:
        pull(number)
        push(number)

    def read(keys: list[int]) -> list[list[float]]:
        found = rpc.rpc_sync(torch_store.SERVER, torch_store.pull, args=(tables, torch.tensor(keys)))
        return [row.tolist() for row in found[0]]

    serve({"pull": pull, "push": push, "step": step}, read, acts={"batch": lambda number: batches[number].tolist()})


if __name__ == "__main__":
    main()
