"""Tries a version before it is activated: whether what would be served is what its publisher said.

A manifest has samples: stored users, and what the publisher's own model scores highest for them. Here the same users
go through the version's stored views, rows and towers, and so do the samples' items and some others of its catalogue.
Where all of it belongs together, the samples' items come out on top again, with the scores that they had. Where the
towers were swapped, the rows are another run's or the catalogue's ids were mixed up, others do.

It cannot tell a good model from a bad one: that the publisher's own figures do (`activation.differences`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank.errors import RequestError
from rowbank.tower_feeding import Lookup, gather, usable
from rowbank_protos.v1 import models_pb2
from rowbank_server.features import FeatureStatus, FeatureStore, LayeredView
from rowbank_server.registry.inputs import TowerInputs
from rowbank_server.registry.model import load_model
from rowbank_server.registry.store import ModelRegistry
from rowbank_server.registry.towers import TowerGraph

_log = logging.getLogger("rowbank.registry")

F32 = npt.NDArray[np.float32]

BUDGET_S = 20.0  # Of all of it. Who activates waits for it; on a machine that is free it takes a second.
MAX_USERS = 64
OTHER_ITEMS = 4096  # Besides those of the samples: enough that a place among the best is no accident.
_AT_ONCE = 1024  # Entities that are read and embedded between two looks at the clock.

# Of the items that the publisher's model scores highest, how many come out highest here, on average over the users. All
# belong together: 0.95 and more, as float16 rows and changed histories swap near neighbours alone. Mixed up: a few in a
# hundred. Rows that train on move on between the publisher's look and this one, and so does the order of what is close.
LEAST_OVERLAP = 0.5
LEAST_OVERLAP_LIVE = 0.2
# An item's place says most while the list is short: among all items of a tiny catalogue anything overlaps.
LARGEST_PART = 0.1
# Of the samples' users and items, how many the version must know. Callers remove items and eviction takes rows, but not
# half of what was trained a moment ago.
LEAST_KNOWN = 0.5
# How far the mean of the samples' scores may be from what was stored, in parts of the stored one's size. A forgotten
# scale, or rows of another scale, are off by a factor; rounding by a thousandth.
MOST_SHIFT = 0.5
MOST_SHIFT_LIVE = 1.0
# How often larger, or smaller, the spread of all scores may be than the active version's. Other dims, losses and
# temperatures change it by up to ten; callers' min_score has to be thought of anew beyond that anyway.
MOST_SPREAD_RATIO = 30.0
# Of the vectors, how many may be no numbers: such items are left out one by one, and a few of them hurt nobody.
MOST_UNUSABLE = 0.01
# Live rows reach Redis some seconds after they are asked for, so what is found of them is looked at again for so long.
_LIVE_S, _AGAIN_S = 10.0, 0.5


@dataclass(frozen=True, slots=True)
class Scored:
    """Users and items of a version as it would be served.

    Attributes:
        users, items: [U] and [I] int64 keys of those of whom something is known.
        scores: [U, I] float32: logit_scale x dot product.
        users_tried, items_tried: how many were asked for, or are in the catalogue.
        unusable: how many vectors are no numbers.
    """

    users: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]
    scores: F32
    users_tried: int
    items_tried: int
    unusable: int


class _OutOfTimeError(Exception):
    """The budget is used up."""


class Trial:
    """Thread-safe, as its parts are.

    Args:
        lookup: reads rows of any shard, as `rowbank.tower_feeding.Lookup`.
        want_newest: asks that what it reads is soon as the shards have it; returns at once.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        store: FeatureStore,
        lookup: Lookup,
        *,
        want_newest: Callable[[], None] = lambda: None,
        budget_s: float = BUDGET_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._store = store
        self._lookup = lookup
        self._want_newest = want_newest
        self._budget_s = budget_s
        self._clock = clock

    def differences(self, new: models_pb2.ModelManifest, active: models_pb2.ModelManifest | None) -> list[str]:
        """What is far off, in words; nothing where all is well, and where it could not be tried.

        A version that cannot be tried, because a view is not there yet, a neighbour does not answer, or not in time, is
        let through, and the log says so: the retrieval service loads a version before it serves it, and stays with the
        present one if that fails.
        """
        deadline = self._clock() + self._budget_s
        what = f"model {new.name!r} {new.version}"
        try:
            found = self._tried(new, active, deadline)
            live = new.rows != models_pb2.ROWS_MODE_FROZEN
            if found and live:
                self._want_newest()
            until = min(deadline, self._clock() + _LIVE_S) if live else 0.0
            while found and self._clock() < until:
                time.sleep(_AGAIN_S)
                found = self._tried(new, active, deadline)
            return found
        except _OutOfTimeError:
            _log.warning("%s: not tried before its activation: it takes more than %g s", what, self._budget_s)
        except RequestError as error:
            _log.warning("%s: not tried before its activation: %s", what, error.message)
        return []

    def _tried(
        self, new: models_pb2.ModelManifest, active: models_pb2.ModelManifest | None, deadline: float
    ) -> list[str]:
        scored = self._score(new, deadline)
        found = _unusable(scored) or _unlike_samples(new, scored)
        if not found and active is not None:
            try:
                found = _unlike_active(scored, self._score(active, deadline))
            except RequestError as error:
                _log.warning("model %r %s: not compared with: %s", active.name, active.version, error.message)
        return found

    def _score(self, manifest: models_pb2.ModelManifest, deadline: float) -> Scored:
        """What a version makes of the samples' users, or of the first of its view, and of a sample of its items."""
        model = load_model(manifest, self._registry.files(manifest), self._store)
        users = np.asarray([sample.user for sample in manifest.samples[:MAX_USERS]], np.int64)
        if not len(users) and model.users is not None:
            users = np.sort(model.users.entities())[:MAX_USERS]
        named = np.unique(np.asarray([item for one in manifest.samples[:MAX_USERS] for item in one.items], np.int64))
        catalogue = np.setdiff1d(model.items.entities(), named)
        others = catalogue[np.linspace(0, len(catalogue) - 1, min(OTHER_ITEMS, len(catalogue))).astype(np.int64)]
        dim = manifest.vector_dim
        known_users, user_vectors, bad_users, users_tried = self._embed(
            model.query, model.query_inputs, model.users, users, dim, deadline, own_only=True
        )
        known_items, item_vectors, bad_items, items_tried = self._embed(
            model.candidate, model.candidate_inputs, model.items, np.concatenate([named, others]), dim,
            deadline, own_only=False,
        )  # fmt: skip
        scores = (user_vectors @ item_vectors.T) * np.float32(model.logit_scale)
        return Scored(known_users, known_items, scores, users_tried, items_tried, bad_users + bad_items)

    def _embed(
        self,
        tower: TowerGraph,
        inputs: TowerInputs,
        view: LayeredView | None,
        keys: npt.NDArray[np.int64],
        vector_dim: int,
        deadline: float,
        *,
        own_only: bool,
    ) -> tuple[npt.NDArray[np.int64], F32, int, int]:
        """Keys and vectors of the entities of whom something is known; how many vectors are no numbers, and how many
        entities are there."""
        known_keys, bad, tried = [np.empty(0, np.int64)], 0, 0
        known_vectors = [np.empty((0, vector_dim), np.float32)]
        for start in range(0, len(keys), _AT_ONCE):
            if self._clock() > deadline:
                raise _OutOfTimeError
            features = _features(inputs, view, keys[start : start + _AT_ONCE].tolist(), there_only=not own_only)
            if not features:
                continue
            fed = inputs.feed(features)
            rows, known = gather(inputs.inputs, fed, self._lookup, own_only=own_only)
            vectors = tower.run(rows)
            sound = usable(vectors)
            bad += int((known & ~sound).sum())
            tried += len(features)
            kept = known & sound
            there = np.asarray([values[inputs.entity] for values in features], np.int64)
            known_keys.append(there[kept])
            known_vectors.append(vectors[kept])
        return np.concatenate(known_keys), np.concatenate(known_vectors), bad, tried


def _features(
    inputs: TowerInputs, view: LayeredView | None, keys: Sequence[int], *, there_only: bool
) -> list[dict[str, Any]]:
    """What a tower takes of entities, as it is stored; with `there_only` of those that the view has."""
    if view is None or (not inputs.names and not view.overlay):
        return [{inputs.entity: key} for key in keys]
    inputs.require_types(view)
    reads = view.read_sound(keys, list(inputs.names), note=False)
    return [
        {inputs.entity: read.entity, **{f"{view.base}:{name}": value for name, value in read.held.items()}}
        for read in reads
        if not there_only or read.status is not FeatureStatus.NOT_FOUND
    ]


def _unusable(scored: Scored) -> list[str]:
    total = scored.users_tried + scored.items_tried
    if scored.unusable > MOST_UNUSABLE * total:
        return [f"{scored.unusable} of {total} vectors of its towers are no finite numbers"]
    return []


def _unlike_samples(new: models_pb2.ModelManifest, scored: Scored) -> list[str]:
    """How far what would be served is from what the publisher said, where it said something."""
    samples = list(new.samples[:MAX_USERS])
    if not samples:
        return []
    named = {item for sample in samples for item in sample.items}
    for role, known, asked in (
        ("users", len(scored.users), len(samples)),
        ("items", len(named & set(scored.items.tolist())), len(named)),
    ):
        if known < LEAST_KNOWN * asked:
            return [f"of {asked} {role} that its publisher names, its rows and views know {known}"]
    return _compared(new, samples, scored)


def _compared(new: models_pb2.ModelManifest, samples: Sequence[models_pb2.SampleQuery], scored: Scored) -> list[str]:
    live = new.rows != models_pb2.ROWS_MODE_FROZEN
    places = {int(item): place for place, item in enumerate(scored.items)}
    rows = {int(user): row for row, user in enumerate(scored.users)}
    longest = max(1, int(LARGEST_PART * len(scored.items)))
    overlaps, said, got = [], [], []
    for sample in samples:
        row = rows.get(sample.user)
        listed = [
            (places[item], score) for item, score in zip(sample.items, sample.scores, strict=True) if item in places
        ]
        if row is None or not listed:
            continue
        best = [place for place, _ in listed[:longest]]
        scores = scored.scores[row]
        top = np.argpartition(-scores, len(best) - 1)[: len(best)]
        overlaps.append(len(np.intersect1d(top, best)) / len(best))
        said += [score for _, score in listed]
        got += scores[[place for place, _ in listed]].tolist()
    if not overlaps:
        return ["none of the users and items that its publisher names is there"]
    return _judged(float(np.mean(overlaps)), np.asarray(said), np.asarray(got), live=live)


def _judged(overlap: float, said: npt.NDArray[Any], got: npt.NDArray[Any], *, live: bool) -> list[str]:
    found = []
    if overlap < (LEAST_OVERLAP_LIVE if live else LEAST_OVERLAP):
        found.append(
            f"of the items that its publisher's model scores highest, {overlap:.0%} come out highest here: towers, "
            "rows and catalogue do not belong together"
        )
    size = max(abs(said.mean()), said.std(), 1e-6)
    shift = abs(got.mean() - said.mean()) / size
    if shift > (MOST_SHIFT_LIVE if live else MOST_SHIFT):
        found.append(
            f"those items score {got.mean():.4g} on average (deviation {got.std():.3g}), its publisher said "
            f"{said.mean():.4g} ({said.std():.3g})"
        )
    return found


def _unlike_active(new: Scored, active: Scored) -> list[str]:
    """How far the distribution of scores is from the active version's."""
    if min(new.scores.size, active.scores.size) < 2:
        return []
    was, now = float(active.scores.std()), float(new.scores.std())
    if was <= 0 or 1 / MOST_SPREAD_RATIO <= now / was <= MOST_SPREAD_RATIO:
        return []
    return [
        f"its scores are {new.scores.mean():.4g} on average with a deviation of {now:.3g}, those of the active one "
        f"{active.scores.mean():.4g} with {was:.3g}"
    ]
