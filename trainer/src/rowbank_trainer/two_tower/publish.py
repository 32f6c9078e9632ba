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
from rowbank.models import DataFacts, ModelManifest, PruneReport, TitleTokens, Tower, TowerInput, Transform
from rowbank_trainer.errors import PublishError
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.continuing import TRAINING_FILE, training_file
from rowbank_trainer.two_tower.export import OUTPUT, Last, export_tower
from rowbank_trainer.two_tower.popularity import POPULARITY_INPUT, write_popularity
from rowbank_trainer.two_tower.problem import Problem
from rowbank_trainer.two_tower.publication import Publication
from rowbank_trainer.two_tower.runs import Run, RunTables
from rowbank_trainer.two_tower.samples import sample_queries
from rowbank_trainer.two_tower.schema_file import SCHEMA_FILE, schema_file
from rowbank_trainer.two_tower.served_columns import (
    catalogue_fields,
    fields_of,
    tokenised,
    tower_inputs,
    with_columns,
)
from rowbank_trainer.two_tower.tables.remote import RemoteTables, named_tables, table_spec
from rowbank_trainer.two_tower.training import TrainingRun

_QUALITY_CUTOFF = 20
_MIB = 1 << 20
_FIRST_TITLES = 5


@dataclass(frozen=True, slots=True)
class Published:
    """A model version in the registry.

    Attributes:
        run: that it comes from.
        tables: that were trained, by short name.
        activated: whether it is served.
        refused: why it is not, although that was asked for; empty if it was not refused.
    """

    name: str
    version: str
    label: str
    run: str
    rows: str
    tables: Mapping[str, str]
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
        files = {**tower_files(trained, self.config), SCHEMA_FILE: schema_file(problem, self.config)}
        if isinstance(trained.tables, RemoteTables):
            files[TRAINING_FILE] = training_file(trained)
        tables = dict(trained.tables.table_names) or _upload_rows(own, trained, problem, self.config)
        popular = write_popularity(own, problem, self.config) if self.config.popularity_weight else ""
        self._say_cost(tables)
        now = time.time()
        version = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}-{secrets.token_hex(2)}"
        report = self._write_catalogue(own.run, version, trained, problem)
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

    def _say_cost(self, tables: Mapping[str, str]) -> None:
        if self.publication.rows != "frozen":
            return
        cost = self.client.models.frozen_cost(tables.values(), self.publication.frozen_dtype)
        self.console.print(
            f"Publishing: the frozen copy takes {cost.rows} rows, about {_size(cost.bytes)} of RAM",
            highlight=False,
        )

    def _write_catalogue(self, run: Run, version: str, trained: TrainingRun, problem: Problem) -> CatalogueReport:
        items, users = catalogue_rows(problem), histories(problem)
        with_columns(items, problem.features.item, problem.items)
        with_columns(users, problem.features.user, problem.users)
        model, plan = trained.model, problem.plan
        said = {"items": len(items), "users": len(users)}

        def progress(what: str, done: int, total: int) -> None:
            if done < total or total > said[what]:
                self.console.print(f"Publishing: {done} of {total} {what} written", highlight=False)

        return write_catalogue(
            self.client, run.model, version, items=items, users=users, read_at_s=self.read_at_s,
            item_fields=fields_of(plan.item, problem, model.item_input.fills),
            user_fields=fields_of(plan.user, problem, model.user_input.fills),
            item_names=problem.item_names, user_names=problem.user_names, progress=progress,
        )  # fmt: skip

    def _manifest(
        self,
        run: Run,
        version: str,
        now: float,
        trained: TrainingRun,
        problem: Problem,
        tables: Mapping[str, str],
        report: CatalogueReport,
        popular: str,
    ) -> ModelManifest:
        config, views, kinds = self.config, report.views, problem.id_kinds
        metrics = {
            f"{where}_{name}": rate
            for where, rates in trained.accuracy.as_json().items()
            for name, rate in rates.items()
        }
        quality = f"recall@{_QUALITY_CUTOFF} on {self.evaluated}"
        metrics[quality] = trained.accuracy.recall[_QUALITY_CUTOFF]
        candidates = list(tower_inputs(problem.plan.item, problem, tables, views))
        if popular:
            candidates.append(TowerInput(POPULARITY_INPUT, popular, "item_id", 1))
        query = tower_inputs(problem.plan.user, problem, tables, views)
        words = (Transform("title", "title_tokens", TitleTokens(config.max_tokens)),)
        return ModelManifest(
            name=run.model,
            version=version,
            query=Tower(query, OUTPUT, "query.onnx"),
            candidate=Tower(tuple(candidates), OUTPUT, "candidate.onnx"),
            vector_dim=config.served_dim,
            metrics=metrics,
            created_at_s=now,
            logit_scale=1.0 / config.temperature,
            transforms=words if tokenised(problem) else (),
            data=DataFacts(
                self.publication.data_name or problem.dataset_name, len(problem.user_keys), len(problem.catalogue),
                len(problem.known), self.read_at_s,
            ),
            quality_metric=quality,
            run=run.prefix,
            user_ids=kinds["user_ids"],
            item_ids=kinds["item_ids"],
            samples=sample_queries(trained, problem, config),
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


def tower_files(trained: TrainingRun, config: TwoTowerConfig) -> dict[str, bytes]:
    """Both towers as ONNX, by file name.

    Raises:
        ExportError: see `export_tower`.
    """
    model, popular = trained.model, bool(config.popularity_weight)
    return {
        "query.onnx": export_tower(model.user_input, model.user_tower, last=Last.ONE if popular else Last.NOTHING),
        "candidate.onnx": export_tower(
            model.item_input, model.item_tower, last=Last.POPULARITY if popular else Last.NOTHING
        ),
    }


def catalogue_rows(problem: Problem) -> dict[int, dict[str, Any]]:
    """Every item and the features that it has without a schema, as `catalogue_fields` says."""
    catalogue = problem.catalogue
    columns: dict[str, Any] = {
        "title": catalogue.titles, "title_tokens": problem.item_keys, "genres": catalogue.genres,
        "year": catalogue.years,
    }  # fmt: skip
    names = [field.name for field in catalogue_fields(problem)]
    return {int(item): {name: columns[name][row] for name in names} for row, item in enumerate(catalogue.item_ids)}


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


def _upload_rows(own: RunTables, trained: TrainingRun, problem: Problem, config: TwoTowerConfig) -> dict[str, str]:
    plan, features = problem.plan, problem.features
    names, drawn_as = named_tables(own.run.prefix, plan), named_tables(own.run.model, plan)
    own.make_way(names.values())
    own.hold(names.values())
    for index, table in enumerate(plan.tables):
        keys = features.keys(table.name)
        rows = trained.tables.rows(table.name, keys)
        there = rows.any(axis=1)
        spec = table_spec(table, names[table.name], config, seed=config.seed + index, drawn_as=drawn_as[table.name])
        own.client.create_table(spec).upsert(keys[there], rows[there])
    return names
