"""DiagnosisService: how a process is, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import grpc

from rowbank_protos.v1 import diagnosis_pb2, diagnosis_pb2_grpc
from rowbank_server.ps.diagnosis.health import Health


class DiagnosisServicer(diagnosis_pb2_grpc.DiagnosisServiceServicer):
    """Answers for one process.

    Args:
        about: who this process is, in an answer without findings.
        look: the findings, one check after the other.
    """

    def __init__(
        self,
        health: Health,
        about: Callable[[], diagnosis_pb2.DiagnoseResponse],
        look: Callable[[], Iterable[diagnosis_pb2.Finding]],
    ) -> None:
        self._health = health
        self._about = about
        self._look = look

    def GetHealth(  # noqa: N802
        self, request: diagnosis_pb2.GetHealthRequest, context: grpc.ServicerContext
    ) -> diagnosis_pb2.GetHealthResponse:
        return self._health.now()

    def Diagnose(  # noqa: N802
        self, request: diagnosis_pb2.DiagnoseRequest, context: grpc.ServicerContext
    ) -> diagnosis_pb2.DiagnoseResponse:
        answer = self._about()
        answer.findings.extend(self._look())
        return answer
