"""Recommends to everybody: reads users in blocks, scans the catalogue for each block, and writes as it goes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from rowbank import Client
from rowbank.features import FeatureResult
from rowbank.manifests import ModelManifest
from rowbank.text_ids import ID_TEXT
from rowbank.tower_keys import HISTORY
from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.errors import TrainerError, UsageError
from rowbank_trainer.recommending.scan import Candidates
from rowbank_trainer.recommending.users import read_users
from rowbank_trainer.recommending.version import Side, find_version
from rowbank_trainer.recommending.writing import AnswerFile, Answers

_ITEMS_AT_ONCE = 4096
_USERS_AT_ONCE = 512  # They are scored together.
_BLOCKS_PER_GROUP = 16
_LINES = 10  # Of progress where there is no terminal.


@dataclass(frozen=True, slots=True)
class RecommendAll:
    """What to do.

    Attributes:
        version: "active", "latest" or a version.
        k: items per user, at most.
        exclude_seen: leave out what a user's history names.
        users: a file with the users to recommend to; None: all that the version knows.
    """

    model: str
    version: str
    out: Path
    k: int
    exclude_seen: bool
    users: Path | None

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError(f"--k must be at least 1, got {self.k}")


@dataclass(frozen=True, slots=True)
class _Audience:
    """The users' side, and the texts of users that were asked for by them."""

    side: Side
    texts: Mapping[int, str]

    def named(self, result: FeatureResult) -> int | str | None:
        """A user's id as callers know it; None: the version keeps no text of it."""
        if not self.side.texts:
            return result.entity
        return self.texts.get(result.entity) or result.values.get(ID_TEXT) or None


@dataclass(slots=True)
class _Totals:
    written: int = 0
    session: int = 0
    unknown: int = 0


def recommend_all(job: RecommendAll, client: Client, console: Console) -> None:
    """Does the job.

    Raises:
        TrainerError, RowbankError: what went wrong; a file that was there before is then as it was.
    """
    started = time.perf_counter()
    manifest = find_version(client, job.model, job.version)
    users = Side(client, manifest, items=False)
    if job.exclude_seen and not users.has_history:
        raise UsageError(
            f"--exclude-seen: version {manifest.version} of {manifest.name} keeps no histories; give --include-seen"
        )
    if job.users is None:
        asked, names = users.entities(), dict[int, str]()
    else:
        asked, names = read_users(job.users, texts=users.texts)
    audience = _Audience(users, names)
    with AnswerFile(job.out, manifest, k=job.k) as file:
        items = _candidates(Side(client, manifest, items=True))
        console.print(
            f"{manifest.name} {manifest.version}: {len(items.ids)} items that can be found, {len(asked)} users",
            highlight=False,
        )
        if job.k > len(items.ids):
            raise UsageError(
                f"--k {job.k}: the version has {len(items.ids)} items that can be found; give at most that many"
            )
        totals = _Totals()
        for group in _groups(job, manifest, audience, items, asked, console, totals):
            file.write(group)
    seconds = time.perf_counter() - started
    console.print(
        f"Wrote {totals.written} users to {job.out} in {seconds:.1f} s: {totals.written - totals.session} by their own "
        f"vector, {totals.session} by what they met; {totals.unknown} of whom the version knows nothing are left out.",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


def _candidates(side: Side) -> Candidates:
    """All items that a search can find."""
    entities = side.entities()
    ids, vectors, texts = [], [], []
    for first in range(0, len(entities), _ITEMS_AT_ONCE):
        read = side.read(entities[first : first + _ITEMS_AT_ONCE].tolist())
        if not read:
            continue
        embedded = side.embed(read)
        known = embedded.known & np.array([not side.texts or bool(result.values.get(ID_TEXT)) for result in read])
        kept = [result for result, is_known in zip(read, known, strict=True) if is_known]
        ids.append(np.fromiter((result.entity for result in kept), np.int64, len(kept)))
        vectors.append(embedded.vectors[known])
        texts += [result.values[ID_TEXT] for result in kept] if side.texts else []
    if not sum(map(len, ids)):
        raise TrainerError("the version has no item that can be found; publish it with its items")
    names = np.array(texts, dtype=object) if side.texts else None
    return Candidates(np.concatenate(ids), np.ascontiguousarray(np.concatenate(vectors)), names)


def _groups(
    job: RecommendAll, manifest: ModelManifest, audience: _Audience, items: Candidates, asked: Ids, console: Console,
    totals: _Totals,
) -> Iterator[Answers]:  # fmt: skip
    size = _USERS_AT_ONCE * _BLOCKS_PER_GROUP
    every = max(size, -(-len(asked) // _LINES))
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("users", total=len(asked))
        for first in range(0, len(asked), size):
            parts = []
            for start in range(first, min(first + size, len(asked)), _USERS_AT_ONCE):
                block = asked[start : min(start + _USERS_AT_ONCE, first + size)]
                parts.append(_answer(job, manifest, audience, items, block.tolist(), totals))
                bar.advance(task, len(block))
            done = min(first + size, len(asked))
            if not console.is_terminal and done // every > first // every and done < len(asked):
                console.print(f"{done} of {len(asked)} users", highlight=False)
            yield _joined(parts)


def _answer(
    job: RecommendAll,
    manifest: ModelManifest,
    audience: _Audience,
    items: Candidates,
    block: Sequence[int],
    totals: _Totals,
) -> Answers:
    """The best items of a block of users; of those without a vector, near what they met."""
    side = audience.side
    read = side.read(block)
    if not read:
        totals.unknown += len(block)
        return Answers([], np.empty(0, np.int64), items.of(np.empty(0, np.int64)), np.empty(0, np.float32), [])
    embedded, ids = side.embed(read), [audience.named(result) for result in read]
    vectors = np.zeros((len(read), items.vectors.shape[1]), np.float32)
    sources = [""] * len(read)
    excluded: list[Ids] = []
    for at, result in enumerate(read):
        met = items.positions(result.values.get(HISTORY, ()) if side.has_history else ())
        excluded.append(met if job.exclude_seen else np.empty(0, np.int64))
        if ids[at] is None:
            continue
        if embedded.known[at]:
            vectors[at], sources[at] = embedded.vectors[at], "personal"
        elif len(met):
            vectors[at], sources[at] = items.vectors[met].mean(axis=0, dtype=np.float32), "session"
    shown = [at for at, source in enumerate(sources) if source]
    best = items.best(vectors[shown], job.k, [excluded[at] for at in shown])
    there = best.items >= 0
    positions = best.items[there]
    totals.written += len(shown)
    totals.session += sources.count("session")
    totals.unknown += len(block) - len(shown)
    return Answers(
        users=[name for at in shown if (name := ids[at]) is not None],
        counts=there.sum(axis=1),
        items=items.of(positions),
        scores=best.scores[there] * np.float32(manifest.logit_scale),
        sources=[sources[at] for at in shown],
    )


def _joined(parts: Sequence[Answers]) -> Answers:
    return Answers(
        users=[user for part in parts for user in part.users],
        counts=np.concatenate([part.counts for part in parts]),
        items=np.concatenate([part.items for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        sources=[source for part in parts for source in part.sources],
    )
