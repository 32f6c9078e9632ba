"""The answers of plain queries, which want nothing but the best items under a vector: what other queries need one by
one is done once for the batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rowbank.tracing import stage
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.queries import Answer
from rowbank_server.retrieval.stages.ranking import directed
from rowbank_server.retrieval.stages.work import Work


def are_plain(batch: Sequence[Work]) -> bool:
    """Whether a batch has nothing but plain queries, and at least one."""
    return bool(batch) and all(map(_is_plain, batch))


def _is_plain(work: Work) -> bool:
    query = work.query
    return (
        work.vector is not None
        and work.filter is None
        and work.explanation is None
        and query.min_score is None
        and query.diversity is None
        and query.candidates is None
        and not (work.boosts or query.offset or query.exclude or query.exclude_seen or query.shown)
    )


def plain_answers(generation: Generation, batch: Sequence[Work]) -> list[Answer] | None:
    """An answer to each of a batch's plain queries, in their order, as `Search` gives them.

    None where a search does not find as many items as are wanted, and one more, which says that there are more.
    """
    sizes = [work.query.k for work in batch]
    most = max(sizes) + 1
    if generation.indexed_count < most:
        return None
    scale = generation.model.logit_scale
    with stage("query.search"):
        vectors = directed(np.stack([work.vector for work in batch if work.vector is not None]), scale)
        positions, scores = generation.search(vectors, most, generation.unindexed[None])
    if (positions < 0).any():  # An index need not find all.
        return None
    with stage("query.assemble"):
        wanted = np.arange(most) < np.asarray(sizes)[:, None]
        listed = (scores[wanted].astype(np.float64) * abs(scale)).tolist()
        items = generation.found_all(positions[wanted], listed, [None] * len(listed))
        answers, start = [], 0
        for work, size in zip(batch, sizes, strict=True):
            answers.append(
                Answer(
                    items[start : start + size],
                    work.source,
                    generation.model.version,
                    generation.index_version,
                    work.degraded,
                    work.defaulted,
                    more=True,
                )
            )
            start += size
        return answers
