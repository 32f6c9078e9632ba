"""Whatever comes is a filter or a clear refusal, over both protocols; what is a filter can be evaluated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from tests.retrieval.filters.judge import FIELDS, draw_items, passes, segment_of

from rowbank.errors import InvalidRequest
from rowbank_protos.v1 import retrieval_pb2
from rowbank_server.retrieval.filters.evaluate import at_time, passing
from rowbank_server.retrieval.filters.fields import FilterFields
from rowbank_server.retrieval.filters.json import boosts_from_json, diversity_from_json, filter_from_json
from rowbank_server.retrieval.filters.proto import filter_from_proto, filter_to_json, filter_to_proto
from rowbank_server.retrieval.filters.stored import names_of

KNOWN = FilterFields({field.name: field.type for field in FIELDS})
ITEMS = draw_items(np.random.default_rng(21), 60)
WORDS = [
    "and",
    "or",
    "not",
    "named",
    "feature",
    "any",
    "all",
    "none",
    "exists",
    "gte",
    "gt",
    "lte",
    "lt",
    "add",
    "name",
]
VALUES: list[Any] = [
    None, True, False, 0, -1, 7, 1990, 2**53 + 1, 2**63, -(2**63), 10**400, 0.5, -0.0, 9.5, float("nan"), float("inf"),
    "", "a", "now", "now-7d", "now+", "9007199254740993", "\ud800", "Drama", "x" * 2000, [], {}, [[]], b"bytes", (1, 2),
]  # fmt: skip


def draw(rng: np.random.Generator, depth: int) -> Any:
    """JSON that is often nearly a filter."""
    kind = int(rng.integers(0, 12)) if depth else 11
    if kind < 4:
        feature = FIELDS[int(rng.integers(0, len(FIELDS)))].name if rng.random() < 0.95 else "colour"
        test = WORDS[int(rng.integers(5, 13))]
        some = [VALUES[int(i)] for i in rng.integers(0, len(VALUES), rng.integers(0, 3))]
        value = some if test in ("any", "all", "none") and rng.random() < 0.9 else VALUES[int(rng.integers(0, 30))]
        return {"feature": feature, test: value}
    if kind < 6:
        return {"and" if kind == 4 else "or": [draw(rng, depth - 1) for _ in range(rng.integers(0, 3))]}
    if kind < 8:
        return {"not": draw(rng, depth - 1)}
    if kind < 9:
        return {WORDS[int(rng.integers(0, 15))]: draw(rng, depth - 1) for _ in range(rng.integers(0, 3))}
    return VALUES[int(rng.integers(0, len(VALUES)))]


def outcome(read: Any, given: Any) -> tuple[Any, str]:
    """What is read, or None and the place of the refusal; nothing else may be raised."""
    try:
        return read(given, KNOWN), ""
    except InvalidRequest as refused:
        return None, refused.metadata["field"]


@pytest.mark.parametrize("seed", range(5))
def test_any_json(seed: int) -> None:
    """Refusals have a place; filters pass what the judge passes, and come back the same over gRPC."""
    rng, segment, taken = np.random.default_rng(seed), segment_of(ITEMS), 0
    for _ in range(2000):
        given = draw(rng, 4)
        made, place = outcome(filter_from_json, given)
        if place:
            assert place.startswith("filter")
            continue
        taken += 1
        if not names_of(made):
            timed = at_time(made, 2000.0)
            assert passing(segment, timed).tolist() == [passes(item, made, now_s=2000.0) for item in ITEMS], given
        assert filter_from_proto(filter_to_proto(given), KNOWN) == made
    assert taken > 50


def test_any_json_as_boosts_and_diversity() -> None:
    """Nothing else is raised."""
    rng = np.random.default_rng(9)
    for _ in range(2000):
        given = draw(rng, 3)
        for read, what in (
            (boosts_from_json, [given]),
            (boosts_from_json, [{"filter": given, "add": VALUES[int(rng.integers(0, 30))], "name": given}]),
            (diversity_from_json, given),
            (diversity_from_json, {"feature": given, "max_per_value": VALUES[int(rng.integers(0, 30))]}),
        ):
            made, place = outcome(read, what)
            assert made is not None or place.startswith(("boosts", "diversity"))


def test_any_bytes() -> None:
    """Messages of random bytes, and of a right one with some bytes changed."""
    rng = np.random.default_rng(10)
    right = filter_to_proto(
        {"and": [{"feature": "year", "gte": 1, "lt": "now"}, {"not": {"feature": "genres", "any": ["a", "b"]}}]}
    ).SerializeToString()
    read = 0
    for _ in range(5000):
        data = bytearray(right if rng.random() < 0.8 else rng.bytes(int(rng.integers(0, 40))))
        for place in rng.integers(0, max(1, len(data)), rng.integers(0, 4)):
            if data:
                data[int(place)] = int(rng.integers(0, 256))
        try:
            message = retrieval_pb2.Filter.FromString(bytes(data))
        except DecodeError:
            continue
        read += 1
        made, place = outcome(filter_from_proto, message)
        if place:
            assert place.startswith("filter")
        else:
            assert filter_from_json(filter_to_json(message), KNOWN) == made
    assert read > 500
