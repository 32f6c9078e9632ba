"""What the processes of a torch RPC job share: tables on the server, and the functions that clients call on it."""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed.rpc as rpc

from .work import ACCUMULATOR, RATE, Work

SERVER = "ps"
_state: dict[str, Any] = {}


def join(work: Work, name: str, rank: int) -> None:
    """Joins the job, over sockets alone: no shared memory, which another machine would not have."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    os.environ["TP_SOCKET_IFNAME"] = "lo"
    options = rpc.TensorPipeRpcBackendOptions(
        num_worker_threads=8,
        init_method=f"tcp://127.0.0.1:{work.server['port']}",
        rpc_timeout=120,
        _transports=["uv"],
        _channels=["basic"],
    )
    rpc.init_rpc(name, rank=rank, world_size=1 + work.clients, rpc_backend_options=options)


def make_tables(work: Work) -> None:
    """On the server: values and the optimizer's state, dense."""
    for name in work.tables:
        values = torch.empty(work.rows, work.dim).normal_(generator=torch.Generator().manual_seed(work.seed))
        if work.optimizer == "adagrad":
            _state[name] = [values, torch.full((work.rows, work.dim), ACCUMULATOR), 0]
        else:
            _state[name] = [values, *(torch.zeros(work.rows, work.dim) for _ in range(2)), 0]


def pull(tables: list[str], keys: torch.Tensor) -> list[torch.Tensor]:
    """Rows [keys, dim] of each table."""
    return [_state[name][0].index_select(0, keys) for name in tables]


def push(tables: list[str], keys: torch.Tensor, gradients: torch.Tensor | list[torch.Tensor]) -> None:
    """Applies the gradients [keys, dim] to the rows of distinct keys, of each table."""
    for name, gradient in zip(tables, gradients, strict=True):
        if len(_state[name]) == 3:
            _adagrad(_state[name], keys, gradient)
        else:
            _adam(_state[name], keys, gradient)


def _adagrad(table: list[Any], keys: torch.Tensor, gradient: torch.Tensor) -> None:
    values, sums, _ = table
    moved = sums.index_select(0, keys).addcmul_(gradient, gradient)
    sums.index_copy_(0, keys, moved)
    values.index_add_(0, keys, gradient / moved.sqrt_().add_(1e-7), alpha=-RATE)


def _adam(table: list[Any], keys: torch.Tensor, gradient: torch.Tensor) -> None:
    values, first, second, _ = table
    table[3] += 1
    step = table[3]
    m = first.index_select(0, keys).mul_(0.9).add_(gradient, alpha=0.1)
    v = second.index_select(0, keys).mul_(0.999).addcmul_(gradient, gradient, value=0.001)
    first.index_copy_(0, keys, m)
    second.index_copy_(0, keys, v)
    rate = RATE * (1 - 0.999**step) ** 0.5 / (1 - 0.9**step)
    values.index_add_(0, keys, m / v.sqrt_().add_(1e-7), alpha=-rate)
