"""Answers of calls."""

from __future__ import annotations

from typing import Any

import msgspec


class Item(msgspec.Struct, frozen=True):
    """One item of an answer. `score` is null where the model did not score it: it filled the answer up to k."""

    id: int | str
    score: float | None
    rank: int
    title: str


class Recommendations(msgspec.Struct, frozen=True, kw_only=True):
    """Items best first.

    `source`: personal (the query tower), session (near items) or popular. `degraded`: what was not as it should be.
    `defaulted`: features of which the query tower got the default, or nothing, if an explanation was asked for.
    """

    items: list[Item]
    model_version: str
    index_version: str
    source: str
    degraded: list[str]
    timings_ms: dict[str, float] | None = None
    defaulted: list[str] | None = None


class RecommendationsBatch(msgspec.Struct, frozen=True):
    """One answer per request, in their order."""

    answers: list[Recommendations]


class Entity(msgspec.Struct, frozen=True):
    """Stored features of an item or a user, defaults filled in. `event_time_s`: Unix seconds of the last write."""

    id: int | str
    features: dict[str, Any]
    status: str
    event_time_s: float


class CatalogueItem(msgspec.Struct, frozen=True):
    """An item's features and whether a search can find it; `not_indexed` says why not."""

    id: int | str
    features: dict[str, Any]
    status: str
    event_time_s: float
    indexed: bool
    interactions: int
    not_indexed: str = ""


class Written(msgspec.Struct, frozen=True):
    """How many entities were written; 0 where a later event had been written before."""

    written: int


class Removed(msgspec.Struct, frozen=True):
    """The item that was removed."""

    id: int | str


class ModelVersion(msgspec.Struct, frozen=True):
    """A published version. `serving`: this process answers from it."""

    name: str
    version: str
    active: bool
    serving: bool
    created_at_s: float
    vector_dim: int
    metrics: dict[str, float]


class ModelVersions(msgspec.Struct, frozen=True):
    """Versions newest first; `previous` is the one to roll back to, empty if there is none."""

    models: list[ModelVersion]
    previous: str


class Activated(msgspec.Struct, frozen=True):
    """What is active now, and what was."""

    version: str
    previous_version: str


class WorkerHealth(msgspec.Struct, frozen=True):
    """One of several workers. `status`: ready, not-ready (takes no connections yet) or silent (does not answer)."""

    worker: int
    status: str
    model_version: str


class Health(msgspec.Struct, frozen=True):
    """Whether the process lives and, for /readyz, serves. `problem`: what keeps a newer version from being served.
    `workers`: all of them, where there are several; the rest is of the one that answers.
    """

    status: str
    model_version: str = ""
    index_version: str = ""
    items: int = 0
    problem: str = ""
    workers: list[WorkerHealth] | None = None


class DemoFeature(msgspec.Struct, frozen=True):
    """A feature of items; `values`: texts that items have of it, if they are few."""

    name: str
    type: str
    values: list[str]


class DemoData(msgspec.Struct, frozen=True):
    """What the page at /demo offers: ids of some stored `users` as strings, and features to filter by."""

    model: str
    users: list[str]
    item_features: list[DemoFeature]


class DemoTitles(msgspec.Struct, frozen=True):
    """Titles by items' ids; those that the catalogue has not are left out."""

    titles: dict[str, str]
