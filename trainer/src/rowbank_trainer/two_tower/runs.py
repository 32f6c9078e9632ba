"""Training runs: each has tables of its own on the server, `<model>/<run>.<table>`, which no other run touches."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType

from rowbank import SGD, Client, TableSpec
from rowbank.errors import ModelNotFound, RowbankError, TableExists
from rowbank.models import ModelManifest
from rowbank_trainer.errors import TrainerError, UsageError

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CLAIM = "claim"


@dataclass(frozen=True, slots=True)
class Run:
    """One training run of a model."""

    model: str
    name: str

    @property
    def prefix(self) -> str:
        """Of its tables' names, and what versions and holds call it."""
        return f"{self.model}/{self.name}"

    @property
    def title(self) -> str:
        """For people."""
        return f"run {self.name} of {self.model}"

    def owns(self, table: str) -> bool:
        """Whether a table is this run's, by its name."""
        return table.startswith(f"{self.prefix}.")


def check_run_name(name: str) -> str:
    """A name for `--run`. Raises TrainerError."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"--run: expected 1 to 64 letters, digits, dashes or underscores, got {name!r}")
    return name


def next_free(client: Client, model: str) -> str:
    """The number above those of all runs that have tables or a stored version."""
    pattern = re.compile(rf"{re.escape(model)}/(\d+)(\..*)?")
    names = [info.spec.name for info in client.list_tables()] + [manifest.run for manifest in versions(client, model)]
    taken = [int(found.group(1)) for name in names if (found := pattern.fullmatch(name))]
    return str(max(taken, default=0) + 1)


def versions(client: Client, model: str) -> list[ModelManifest]:
    """The stored versions of a model, newest first; none if there is no such model."""
    try:
        return [entry.manifest for entry in client.models.list(model)]
    except ModelNotFound:
        return []


class RunTables:
    """A run's tables while it trains: nobody else drops or clears them. Use it in a `with`.

    Args:
        worker: which of several processes holds them; empty: the only one.
    """

    def __init__(self, client: Client, run: Run, *, worker: str = "") -> None:
        self.client, self.run = client, run
        self._worker = worker
        self._held: set[str] = set()
        self._holds = contextlib.ExitStack()
        self._claimed = False

    @classmethod
    def begin(cls, client: Client, model: str, name: str | None = None) -> RunTables:
        """Of a new run: of that name, else with the next free number.

        The run is claimed by a table of no rows until its own tables are there, so that two that begin at the same
        moment get different numbers.

        Raises:
            TrainerError: there is a run of that name.
        """
        while True:
            run = Run(model, next_free(client, model) if name is None else check_run_name(name))
            tables = cls(client, run)
            if tables._claim():
                return tables
            if name is not None:
                raise TrainerError(
                    f"--run: {run.title} has tables or a stored version already; choose another name, go on with it by "
                    "--resume, or with a version of it by --continue"
                )

    def __enter__(self) -> RunTables:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._holds.close()
        self._release_claim()

    def hold(self, names: Iterable[str]) -> None:
        """Holds tables of this run until the end; they need not exist yet."""
        new = sorted(set(names) - self._held)
        if not new:
            return
        self._held.update(new)
        part = f", {self._worker}" if self._worker else ""
        again = f", part {len(self._held)}" if len(new) < len(self._held) else ""
        self._holds.enter_context(self.client.hold_tables(f"{self.run.title}{part}{again}", new, run=self.run.prefix))

    def hold_all(self) -> None:
        """Holds what tables the run has by now, such as those of optimizer slots, which appear in the first step."""
        self.hold(name for name in self._names() if not name.endswith(f".{_CLAIM}"))
        self._release_claim()

    def make_way(self, names: Iterable[str]) -> None:
        """Drops tables that an earlier process of this run left, so that they are filled anew.

        Raises:
            TrainerError: a stored version reads one of them live; nothing was dropped.
        """
        there = set(self._names())
        leftover = [name for name in names if name in there]
        for manifest in versions(self.client, self.run.model) if leftover else ():
            read = sorted(set(leftover) & set(manifest.table_names))
            if read:
                raise TrainerError(
                    f"--resume: version {manifest.version} of {self.run.model} reads table {read[0]} live, so it is "
                    "not put back to the checkpoint; start a new run without --resume, or go on from the version "
                    "with --continue"
                )
        for name in leftover:
            self.client.drop_table(name, missing_ok=True, force=True)

    def of_prefix(self, prefix: str) -> list[str]:
        """This run's tables whose names begin so."""
        return [name for name in self._names() if name.startswith(prefix)]

    def _names(self) -> list[str]:
        return [info.spec.name for info in self.client.list_tables() if self.run.owns(info.spec.name)]

    def _claim(self) -> bool:
        claim = f"{self.run.prefix}.{_CLAIM}"
        try:
            self.client.create_table(TableSpec(claim, dim=1, optimizer=SGD(1.0)))
        except TableExists:
            return False
        self._claimed = True
        taken = self._names() != [claim] or any(
            manifest.run == self.run.prefix for manifest in versions(self.client, self.run.model)
        )
        if taken:
            self._release_claim()
        return not taken

    def _release_claim(self) -> None:
        if self._claimed:
            self._claimed = False
            with contextlib.suppress(RowbankError):  # Pruning finds what is left of it.
                self.client.drop_table(f"{self.run.prefix}.{_CLAIM}", missing_ok=True, force=True)
