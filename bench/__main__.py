"""`python -m bench`: runs workloads by name, prints a table, writes JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from . import (
    capacity_cells,
    capacity_memory,
    capacity_workloads,
    core_workloads,
    durability_workloads,
    eviction_workloads,
    feature_workloads,
    follower_workloads,
    freshness_workloads,
    grpc_workloads,
    index_workloads,
    journal_steps,
    journal_workloads,
    ladder_workloads,
    machine,
    narrow_workloads,
    near_workloads,
    overload_workloads,
    retrieval_workloads,
    second_chance_workloads,
    serving_workloads,
    step_workloads,
    sweep_workloads,
    tail_workloads,
    tls_workloads,
    training_workloads,
    what_if_workloads,
    write_back_workloads,
)
from .report import Figure, Settings, as_json, as_table

WORKLOADS: dict[str, Callable[[Settings], list[Figure]]] = {
    "core_pull": core_workloads.core_pull,
    "core_push_adagrad": core_workloads.core_push_adagrad,
    "core_threads": core_workloads.core_threads,
    "restrict": core_workloads.restrict,
    "core_growth": core_workloads.core_growth,
    "memory_per_row": core_workloads.memory_per_row,
    "grpc_pull": grpc_workloads.grpc_pull,
    "near_cache": near_workloads.near_cache,
    "narrow_wire": narrow_workloads.narrow_wire,
    "journaled_push": journal_workloads.journaled_push,
    "journaled_steps": journal_steps.journaled_steps,
    "write_back_bytes": write_back_workloads.write_back_bytes,
    "replay_target": write_back_workloads.replay_target,
    "overload": overload_workloads.overload,
    "follower_cost": follower_workloads.follower_cost,
    "durability_levels": durability_workloads.durability_levels,
    "recovery": durability_workloads.recovery,
    "snapshot": durability_workloads.snapshot,
    "train_step": step_workloads.train_step,
    "training_two_tower": training_workloads.training_two_tower,
    "training_uet": training_workloads.training_uet,
    "eviction_quality": eviction_workloads.eviction_quality,
    "what_if": what_if_workloads.what_if,
    "access_sample_cost": what_if_workloads.access_sample_cost,
    "pull_under_eviction": eviction_workloads.pull_under_eviction,
    "second_chance": second_chance_workloads.second_chance,
    "exact_top_k": retrieval_workloads.exact_top_k,
    "recommend_load": serving_workloads.recommend_load,
    "recommend_load_large": serving_workloads.recommend_load_large,
    "freshness": freshness_workloads.freshness,
    "index_compare": index_workloads.index_compare,
    "feature_reads": feature_workloads.feature_reads,
    "feature_import": feature_workloads.feature_import,
    "tls_cost": tls_workloads.tls_cost,
    "core_sweep": sweep_workloads.core_sweep,
    "pull_tail": tail_workloads.pull_tail,
    "ladder": ladder_workloads.ladder,
    "capacity": capacity_workloads.capacity,
    "capacity_two_cores": capacity_workloads.capacity_two_cores,
}
# Minutes and most of the memory, environments with other libraries, or libraries to compare with: when named.
_LONG = (
    "capacity",
    "capacity_two_cores",
    "ladder",
    "core_sweep",
    "feature_reads",
    "recommend_load_large",
    "index_compare",
)
_USUAL = [name for name in WORKLOADS if name not in _LONG]
# What each of these asks of the environment.
_ASKED: dict[str, Callable[[Settings], object]] = {
    "capacity": capacity_memory.require_room,
    "capacity_two_cores": capacity_memory.require_room,
    "pull_tail": lambda _: capacity_cells.releases(),
}


def _arguments() -> argparse.Namespace:
    defaults = Settings()
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "workloads",
        nargs="*",
        metavar="WORKLOAD",
        help=f"of {', '.join(WORKLOADS)}; default: all but {', '.join(_LONG)}",
    )
    parser.add_argument("--list", action="store_true", help="name the workloads and end")
    parser.add_argument("--rows", type=int, default=defaults.rows, help="rows in the table (default %(default)s)")
    parser.add_argument("--dim", type=int, default=defaults.dim, help="floats per row (default %(default)s)")
    parser.add_argument("--batch", type=int, default=defaults.batch, help="keys per call (default %(default)s)")
    parser.add_argument(
        "--keys", choices=["uniform", "zipf"], default=defaults.keys, help="how keys are drawn (default %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, default=defaults.rounds, help="turns of each candidate (default %(default)s)"
    )
    parser.add_argument(
        "--calls-per-round", type=int, default=defaults.calls_per_round, help="calls per turn (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=defaults.seed, help="seed of keys and rows (default %(default)s)")
    parser.add_argument(
        "--vectors", default=defaults.vectors, help="index_compare: an .npz file with the arrays items and queries"
    )
    parser.add_argument(
        "--threads", type=int, default=defaults.threads, help="index_compare: that build an index (default %(default)s)"
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.workloads if name not in WORKLOADS]:
        parser.error(f"unknown workload {', '.join(unknown)}; known: {', '.join(WORKLOADS)}")
    try:
        for name in arguments.workloads or _USUAL:
            if name in _ASKED:
                _ASKED[name](_settings(arguments))
    except ValueError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    return arguments


def _settings(arguments: argparse.Namespace) -> Settings:
    names = set(Settings.__dataclass_fields__)
    return Settings(**{name: value for name, value in vars(arguments).items() if name in names})


def main() -> int:
    """Runs what was asked for. Returns the exit code."""
    arguments = _arguments()
    if arguments.list:
        for name, workload in WORKLOADS.items():
            print(f"{name:20} {(workload.__doc__ or '').splitlines()[0]}")
        return 0
    settings = _settings(arguments)
    figures: list[Figure] = []
    for name in arguments.workloads or _USUAL:
        print(f"{name} ...", file=sys.stderr, flush=True)
        figures += WORKLOADS[name](settings)
    print(as_table(figures))
    if arguments.json:
        arguments.json.write_text(as_json(machine.describe(), settings, figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
