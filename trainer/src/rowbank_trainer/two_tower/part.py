"""One of several workers that train one model at once, asynchronously: each goes through its part at its own pace.

Rows are on the server anyway. The dense weights are there too, so that all workers train the same towers; each reads
them before a step and sends gradients after it, computed from weights and rows that are at most some steps old.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from rich.console import Console

from rowbank.keras.workers import StalenessBound
from rowbank.workers import WorkerGroup
from rowbank_trainer.errors import TrainerError
from rowbank_trainer.evaluation import Evaluator
from rowbank_trainer.progress import Progress
from rowbank_trainer.two_tower.batches import BatchSource, epoch_order
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.history import EpochReading
from rowbank_trainer.two_tower.logq import drawing_log_q
from rowbank_trainer.two_tower.parallel import LEASE_S, WorkerPart
from rowbank_trainer.two_tower.problem import Problem
from rowbank_trainer.two_tower.run_log import RunLog
from rowbank_trainer.two_tower.runs import RunTables
from rowbank_trainer.two_tower.shared_dense import SharedDense
from rowbank_trainer.two_tower.tables.remote import RemoteTables, named_tables
from rowbank_trainer.two_tower.training import TrainingRun

_WAIT_FOR_ALL_S = 180.0


class PartTraining:
    """Trains one worker's part.

    Args:
        own: the run that all workers train.
        out: where `worker-<I>.json` goes, with what was measured.
        log_dir: where the lead writes down each epoch; None: nowhere.
    """

    def __init__(
        self,
        part: WorkerPart,
        problem: Problem,
        config: TwoTowerConfig,
        own: RunTables,
        out: Path,
        log_dir: Path | None = None,
    ) -> None:
        self._part, self._problem, self._config, self._client = part, problem, config, own.client
        self._own, self._out, self._log_dir = own, out, log_dir if part.lead else None

    def run(self, evaluator: Evaluator, console: Console) -> TrainingRun:
        """Trains; in the lead until all others have left, with figures after every epoch and at the end.

        Raises:
            RowbankError: the others did not come, or another process is this worker now.
        """
        part = self._part
        # The lead joins when the tables are there, so a complete group can begin.
        group = None if part.lead else self._join()
        run, shared = self._open()
        with group or self._join() as member:
            run.callbacks.append(StalenessBound(member))
            self._train(run, shared, evaluator, console)
            self._report(member, console)
            if part.lead:
                member.wait_last(timeout_s=_WAIT_FOR_ALL_S)
                shared.load()
                last = run.history.epochs[-1]
                run.history.epochs[-1] = EpochReading(last.epoch, last.loss, run.judge(self._problem, evaluator))
        return run

    def _join(self) -> WorkerGroup:
        part = self._part
        group = WorkerGroup(
            self._client, part.group, part.worker_id, max_staleness_steps=part.max_staleness_steps, lease_s=LEASE_S,
            size=part.count,
        )  # fmt: skip
        group.wait_complete(timeout_s=_WAIT_FOR_ALL_S)
        return group

    def _open(self) -> tuple[TrainingRun, SharedDense]:
        """Tables, dense weights and model; the lead makes them, the others take them over."""
        part, config = self._part, self._config
        prefix, plan = self._own.run.prefix, self._problem.plan
        names = named_tables(prefix, plan)
        self._own.hold([*names.values(), f"{prefix}.dense"])
        drawn_as = named_tables(self._own.run.model, plan)
        tables = RemoteTables(self._client, plan, config, names, drawn_as=drawn_as, take_over=not part.lead)
        shared = SharedDense(self._client, f"{prefix}.dense", learning_rate=config.learning_rate, lead=part.lead)
        self._own.hold_all()
        # Dropout differs between workers; initial weights are the lead's.
        own = dataclasses.replace(config, seed=config.seed + 7919 * part.index)
        run = TrainingRun(f"rowbank, {part.count} workers", self._problem, tables, own, limits=None, shared=shared)
        shared.bind(run.model.dense_variables, store=part.lead)
        return run, shared

    def _train(self, run: TrainingRun, shared: SharedDense, evaluator: Evaluator, console: Console) -> None:
        part, config, count = self._part, self._config, len(self._problem.train)
        source = BatchSource(self._problem, run.tables, config, log_q=drawing_log_q(run.model, config))
        log, progress = RunLog(self._log_dir, run.label, 0), Progress(console)
        steps = count // part.count // config.batch_size
        if steps == 0:
            raise TrainerError(
                f"{count} training interactions are fewer than one batch of {config.batch_size} for each of "
                f"{part.count} workers; give a smaller --batch-size"
            )
        with progress.run(run.label, epochs=config.epochs, steps=steps):
            for epoch in range(1, config.epochs + 1):
                order = epoch_order(count, seed=config.seed, epoch=epoch, worker=part.index, workers=part.count)
                trained_s = run.train_s
                loss = run.fit(source.batches(order, drop_remainder=True), progress)
                if part.lead:
                    shared.load()
                    accuracy = run.judge(self._problem, evaluator)
                    run.history.epochs.append(EpochReading(epoch, loss, accuracy))
                    log.epoch(
                        run, learning_rate=config.learning_rate, seconds=run.train_s - trained_s,
                        interactions=steps * config.batch_size,
                    )  # fmt: skip
                    progress.epoch(epoch, loss, accuracy.unseen)

    def _report(self, group: WorkerGroup, console: Console) -> None:
        found = group.staleness
        measured = {
            "worker": self._part.index,
            "max_staleness_steps": group.max_staleness_steps,
            "mean_steps": found.mean_steps,
            **dataclasses.asdict(found),
        }
        path = self._out / f"worker-{self._part.index}.json"
        path.write_text(json.dumps(measured) + "\n", encoding="utf-8")
        console.print(
            f"worker {self._part.index}: {found.advances} steps, at most {found.max_steps} and on average "
            f"{found.mean_steps:.2f} ahead of the slowest; waited {found.waited_s:.1f} s",
            highlight=False,
        )
