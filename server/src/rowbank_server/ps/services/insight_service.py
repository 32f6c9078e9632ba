"""InsightService: why rows are where they are, why some are gone, and what another policy would do."""

from __future__ import annotations

import time
from collections.abc import Callable

import grpc
import numpy as np

from rowbank_protos.v1 import admin_pb2, insight_pb2, insight_pb2_grpc
from rowbank_server.ps.insight.advice import Adviser, simulate
from rowbank_server.ps.insight.explaining import Explainer
from rowbank_server.ps.tables.shard import Shard

_Describe = Callable[[admin_pb2.DescribeRowRequest, grpc.ServicerContext], admin_pb2.DescribeRowResponse]


class InsightServicer(insight_pb2_grpc.InsightServiceServicer):
    """Answers for one shard.

    Args:
        describe: the row of a key, as AdminService has it.
    """

    def __init__(
        self, shard: Shard, describe: _Describe, explainer: Explainer, adviser: Adviser, *, shard_count: int
    ) -> None:
        self._shard = shard
        self._describe = describe
        self._explainer = explainer
        self._adviser = adviser
        self._shard_count = shard_count

    def SimulateEviction(  # noqa: N802
        self, request: insight_pb2.SimulateEvictionRequest, context: grpc.ServicerContext
    ) -> insight_pb2.SimulateEvictionResponse:
        return simulate(self._shard.get(request.table), request.what_ifs, self._shard_count)

    def ExplainRow(  # noqa: N802
        self, request: insight_pb2.ExplainRowRequest, context: grpc.ServicerContext
    ) -> insight_pb2.ExplainRowResponse:
        table = self._shard.get(request.table)
        row = self._describe(admin_pb2.DescribeRowRequest(table=request.table, key=request.key), context)
        return self._explainer.explain(table, row, request.key)

    def CountFrequencies(  # noqa: N802
        self, request: insight_pb2.CountFrequenciesRequest, context: grpc.ServicerContext
    ) -> insight_pb2.CountFrequenciesResponse:
        rows, frequencies, ages = self._shard.get(request.table).rows.histogram(now=int(time.time()))
        return insight_pb2.CountFrequenciesResponse(
            rows=rows,
            frequencies=np.trim_zeros(frequencies, "b").tolist(),
            ages=np.trim_zeros(ages, "b").tolist(),
        )

    def GetAdvice(  # noqa: N802
        self, request: insight_pb2.GetAdviceRequest, context: grpc.ServicerContext
    ) -> insight_pb2.GetAdviceResponse:
        if request.table:
            self._shard.get(request.table)
        found = self._adviser.found
        chosen = [one for name, one in sorted(found.items()) if request.table in ("", name)]
        fields = [field.name for field in insight_pb2.Advice.DESCRIPTOR.fields]
        return insight_pb2.GetAdviceResponse(
            advice=[insight_pb2.Advice(**{name: getattr(one, name) for name in fields}) for one in chosen]
        )
