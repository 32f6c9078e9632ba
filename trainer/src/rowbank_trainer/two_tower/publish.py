"""Publishes a trained model: rows where they are missing, catalogue and histories, then the version itself."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.console import Console

from rowbank import Client
from rowbank.catalogue import CatalogueReport, drop_catalogue, write_catalogue
from rowbank.errors import ModelDiffers
from rowbank.features import FeatureField
from rowbank.models import DataFacts, ModelManifest, PruneReport, TitleTokens, Tower, TowerInput, Transform
from rowbank_trainer.errors import PublishError
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.continuing import TRAINING_FILE, training_file
from rowbank_trainer.two_tower.export import INPUT, OUTPUT, HistoryInput, Last, export_tower
from rowbank_trainer.two_tower.popularity import POPULARITY_INPUT, write_popularity
from rowbank_trainer.two_tower.problem import Problem
from rowbank_trainer.two_tower.publication import Publication
from rowbank_trainer.two_tower.runs import Run, RunTables
from rowbank_trainer.two_tower.tables.base import TABLE_KINDS, TableKind
from rowbank_trainer.two_tower.tables.remote import RemoteTables, named_tables, table_spec
from rowbank_trainer.two_tower.training import TrainingRun
from rowbank_trainer.two_tower.user_history import HISTORY_INPUT, PAD_KEY

ITEM_FIELDS = (
    FeatureField("title", "string"),
    FeatureField("title_tokens", "int64_list"),
    FeatureField("genres", "string_list"),
    FeatureField("year", "int64"),
)
_QUALITY_CUTOFF = 20
_MIB = 1 << 20
_FIRST_TITLES = 5


@dataclass(frozen=True, slots=True)
class Published:
    """A model version in the registry.

    Attributes:
        run: that it comes from.
        tables: that were trained, by kind.
        activated: whether it is served.
        refused: why it is not, although that was asked for; empty if it was not refused.
    """

    name: str
    version: str
    label: str
    run: str
    rows: str
    tables: Mapping[TableKind, str]
    activated: bool
    refused: str
    catalogue: CatalogueReport
    pruned: PruneReport

    def as_json(self) -> dict[str, Any]:
        """Ready for `json.dump`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Publisher:
    """Publishes models of one job.

    Attributes:
        read_at_s: Unix seconds at which the data was read.
        evaluated: what the figures were measured on, for comparisons with other versions: "random:0.2".
    """

    client: Client
    config: TwoTowerConfig
    publication: Publication
    read_at_s: float
    evaluated: str
    console: Console

    def publish(self, trained: TrainingRun, problem: Problem, own: RunTables) -> Published:
        """Stores a version with all that its answers depend on and, if that was asked for, has it served.

        Rows that live in this process are stored in tables of the run first.

        Raises:
            ExportError: a tower cannot be written.
            RowbankError: the server refused; the registry is then as before.
        """
        files = tower_files(trained, problem, self.config)
        if isinstance(trained.tables, RemoteTables):
            files[TRAINING_FILE] = training_file(trained)
        tables = dict(trained.tables.table_names) or _upload_rows(own, trained, problem, self.config)
        weight = self.config.popularity_weight
        popular = write_popularity(own, problem, weight) if weight else ""
        self._say_cost(tables)
        now = time.time()
        version = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}-{secrets.token_hex(2)}"
        report = self._write_catalogue(own.run, version, problem)
        manifest = self._manifest(own.run, version, now, trained, problem, tables, report, popular)
        try:
            refused = self._store(manifest, files)
        except BaseException:
            drop_catalogue(self.client, report.views)
            raise
        pruned = self.client.models.prune(own.run.model, keep=self.publication.keep)
        activated = self.publication.activate and not refused
        return Published(
            own.run.model, version, trained.label, own.run.name, self.publication.rows, tables, activated, refused,
            report, pruned,
        )  # fmt: skip

    def _say_cost(self, tables: Mapping[TableKind, str]) -> None:
        if self.publication.rows != "frozen":
            return
        cost = self.client.models.frozen_cost(tables.values(), self.publication.frozen_dtype)
        self.console.print(
            f"Publishing: the frozen copy takes {cost.rows} rows, about {_size(cost.bytes)} of RAM",
            highlight=False,
        )

    def _write_catalogue(self, run: Run, version: str, problem: Problem) -> CatalogueReport:
        items, users = catalogue_rows(problem), histories(problem)
        said = {"items": len(items), "users": len(users)}

        def progress(what: str, done: int, total: int) -> None:
            if done < total or total > said[what]:
                self.console.print(f"Publishing: {done} of {total} {what} written", highlight=False)

        return write_catalogue(
            self.client, run.model, version, items=items, users=users, read_at_s=self.read_at_s,
            item_fields=ITEM_FIELDS, progress=progress,
        )  # fmt: skip

    def _manifest(
        self,
        run: Run,
        version: str,
        now: float,
        trained: TrainingRun,
        problem: Problem,
        tables: Mapping[TableKind, str],
        report: CatalogueReport,
        popular: str,
    ) -> ModelManifest:
        config, views = self.config, report.views
        metrics = {
            f"{where}_{name}": rate
            for where, rates in trained.accuracy.as_json().items()
            for name, rate in rates.items()
        }
        quality = f"recall@{_QUALITY_CUTOFF} on {self.evaluated}"
        metrics[quality] = trained.accuracy.recall[_QUALITY_CUTOFF]
        titled = problem.catalogue.titled
        candidate = (
            TowerInput(
                INPUT,
                tables["item"],
                f"{views.item_view}:title_tokens",
                config.dim,
                problem.item_keys.shape[1],
                0,
                kind="",  # Padding has a row that was trained.
            )
            if titled
            else TowerInput(INPUT, tables["item"], "item_id", config.dim)
        )
        candidates = [candidate]
        if popular:
            candidates.append(TowerInput(POPULARITY_INPUT, popular, "item_id", 1))
        query = [TowerInput(INPUT, tables["user"], "user_id", config.dim)]
        if config.history:
            met = f"{views.user_view}:history"
            query.append(TowerInput(HISTORY_INPUT, tables["item"], met, config.dim, config.history, PAD_KEY))
        return ModelManifest(
            name=run.model,
            version=version,
            query=Tower(tuple(query), OUTPUT, "query.onnx"),
            candidate=Tower(tuple(candidates), OUTPUT, "candidate.onnx"),
            vector_dim=config.served_dim,
            metrics=metrics,
            created_at_s=now,
            logit_scale=1.0 / config.temperature,
            transforms=(Transform("title", "title_tokens", TitleTokens(config.max_tokens)),) if titled else (),
            data=DataFacts(
                self.publication.data_name or problem.dataset_name, len(problem.user_keys), len(problem.catalogue),
                len(problem.known), self.read_at_s,
            ),
            quality_metric=quality,
            run=run.prefix,
            **asdict(views),
        )  # fmt: skip

    def _store(self, manifest: ModelManifest, files: Mapping[str, bytes]) -> str:
        """Publishes; returns why the version is not served, if it was refused."""
        asked = self.publication
        try:
            self.client.models.publish(
                manifest, files, rows=asked.rows, value_dtype=asked.frozen_dtype if asked.rows == "frozen" else "",
                activate=asked.activate, force=asked.force,
            )  # fmt: skip
        except ModelDiffers as error:
            return error.message
        return ""


def tower_files(trained: TrainingRun, problem: Problem, config: TwoTowerConfig) -> dict[str, bytes]:
    """Both towers as ONNX, by file name.

    Raises:
        ExportError: see `export_tower`.
    """
    length = problem.item_keys.shape[1] if problem.catalogue.titled else 0
    history = HistoryInput(config.history, config.history_weight) if config.history else None
    return {
        "query.onnx": export_tower(
            trained.model.user_tower,
            dim=config.dim,
            length=0,
            history=history,
            last=Last.ONE if config.popularity_weight else Last.NOTHING,
        ),
        "candidate.onnx": export_tower(
            trained.model.item_tower,
            dim=config.dim,
            length=length,
            last=Last.POPULARITY if config.popularity_weight else Last.NOTHING,
        ),
    }


def catalogue_rows(problem: Problem) -> dict[int, dict[str, Any]]:
    """Every item and its features, as `ITEM_FIELDS` has them."""
    catalogue = problem.catalogue
    return {
        int(item): {
            "title": catalogue.titles[row],
            "title_tokens": problem.item_keys[row] if catalogue.titled else (),
            "genres": catalogue.genres[row],
            "year": catalogue.years[row],
        }
        for row, item in enumerate(catalogue.item_ids)
    }


def histories(problem: Problem) -> dict[int, dict[str, Any]]:
    """Every user and what they are known to have met, held-out parts included, oldest first."""
    known = problem.known
    order = np.lexsort((known.times, known.user_ids))
    users, starts = np.unique(known.user_ids[order], return_index=True)
    met = np.split(known.item_ids[order], starts[1:])
    return {int(user): {"history": items} for user, items in zip(users, met, strict=True)}


def say_wordless(console: Console, problem: Problem) -> None:
    """Names items that a model which goes by titles knows nothing of, if there are any."""
    titles = problem.wordless
    if titles:
        first = ", ".join(map(repr, titles[:_FIRST_TITLES]))
        console.print(
            f"NOTICE: {len(titles)} items have a title without a word, so the model knows nothing of them and does not "
            f"recommend them: {first}{', ...' if len(titles) > _FIRST_TITLES else ''}",
            style="bold yellow", highlight=False, markup=False,
        )  # fmt: skip


def say_published(console: Console, published: Published) -> None:
    """What was stored, what that changes for those who are served, and what to do next."""
    report, pruned = published.catalogue, published.pruned
    served = "activated it" if published.activated else "did not activate it"
    console.print(
        f"Published {published.name} {published.version} ({published.label}; run {published.run}, "
        f"{published.rows} rows) and {served}.",
        highlight=False,
    )
    console.print(
        f"Catalogue: {report.items} items; against the active version {report.added} added, {report.changed} changed, "
        f"{report.left} left, {report.kept} kept as callers wrote them. Histories of {report.users} users.",
        highlight=False,
    )
    if pruned.versions or pruned.tables:
        console.print(
            f"Pruned {len(pruned.versions)} older versions and {len(pruned.tables)} tables that nothing needs, "
            f"{_size(pruned.bytes)}.",
            highlight=False,
        )
    if not published.activated and not published.refused:
        console.print(
            f"To serve it: rowbank models activate {published.name} {published.version}",
            highlight=False,
            soft_wrap=True,
        )


def require_served(published: Published) -> None:
    """Raises PublishError if the version was to be served and was refused; it is stored."""
    if published.refused:
        raise PublishError(
            f"{published.refused}. It is stored; to serve it all the same: "
            f"rowbank models activate {published.name} {published.version} --force"
        )


def _size(count: int) -> str:
    return f"{count / _MIB:.1f} MiB" if count >= _MIB else f"{count / 1024:.1f} KiB"


def _upload_rows(
    own: RunTables, trained: TrainingRun, problem: Problem, config: TwoTowerConfig
) -> dict[TableKind, str]:
    keys = {"user": np.unique(problem.train.user_ids), "item": np.unique(problem.item_keys)}
    names = named_tables(own.run.prefix, problem.item_table)
    drawn_as = named_tables(own.run.model, problem.item_table)
    own.make_way(names.values())
    own.hold(names.values())
    for index, kind in enumerate(TABLE_KINDS):
        spec = table_spec(names[kind], config, seed=config.seed + index, drawn_as=drawn_as[kind])
        own.client.create_table(spec).upsert(keys[kind], trained.tables.rows(kind, keys[kind]))
    return names
