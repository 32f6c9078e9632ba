"""Questions about eviction, put to all shards or to the one that has a row."""

from __future__ import annotations

from collections.abc import Sequence

from rowbank import advising, insight
from rowbank._checks import number
from rowbank.calls import methods, routing
from rowbank.calls.verbs import Calls
from rowbank.errors import InvalidRequest
from rowbank_protos.v1 import insight_pb2

_MOST = 32


def simulate(calls: Calls, table: str, what_ifs: Sequence[insight.WhatIf | str]) -> insight.Simulation:
    """See `Table.simulate_eviction`."""
    if len(what_ifs) > _MOST:
        raise InvalidRequest(f"what_ifs: expected at most {_MOST} policies, got {len(what_ifs)}")
    parsed = [insight.WhatIf.parse(one) if isinstance(one, str) else one for one in what_ifs]
    request = insight_pb2.SimulateEvictionRequest(table=table, what_ifs=[one.to_proto() for one in parsed])
    return insight.merge_simulations(table, calls.transport.each(methods.SIMULATE_EVICTION, request))


def advise(calls: Calls, table: str, regret_below: float) -> insight.Advice:
    """See `Table.advise_eviction`."""
    expected = "a share above 0 and below 1"
    below = number("regret_below", regret_below, expected, above=0.0, below=1.0, error=InvalidRequest)
    present = simulate(calls, table, [])
    cap = advising.cap_in_rows(present.present.policy, present.rows, present.bytes)
    if present.present.policy.policy == "none" or not cap:
        raise InvalidRequest(f"table {table!r} has no cap (max_rows, max_bytes) that could be too small")
    return advising.advise(simulate(calls, table, advising.caps_to_try(cap)), cap, below)


def explain(calls: Calls, table: str, key: int) -> insight.RowExplanation:
    """See `Table.explain_row`."""
    flat, shape = calls.as_keys(key)
    if shape != ():
        raise InvalidRequest(f"key: expected one integer, got shape {list(shape)}")
    shard = routing.by_shard(table, flat, calls.layout)[0][0]
    request = insight_pb2.ExplainRowRequest(table=table, key=int(flat[0]))
    return insight.explanation(int(flat[0]), calls.transport.one(methods.EXPLAIN_ROW, shard, request))


def histogram(calls: Calls, table: str) -> insight.FrequencyHistogram:
    """See `Table.frequency_histogram`."""
    request = insight_pb2.CountFrequenciesRequest(table=table)
    return insight.merge_histograms(calls.transport.each(methods.COUNT_FREQUENCIES, request))


def advice(calls: Calls, table: str) -> list[insight.Advice]:
    """See `Client.eviction_advice`."""
    newest: dict[str, insight_pb2.Advice] = {}
    for answer in calls.transport.each(methods.GET_ADVICE, insight_pb2.GetAdviceRequest(table=table)):
        for one in answer.advice:  # A shard speaks of the whole table, judging by its own part: the worst is told.
            known = newest.get(one.table)
            if known is None or one.regret_share > known.regret_share:
                newest[one.table] = one
    return [insight.Advice(**{f.name: getattr(one, f.name) for f in one.DESCRIPTOR.fields}) for _, one in
            sorted(newest.items())]  # fmt: skip
