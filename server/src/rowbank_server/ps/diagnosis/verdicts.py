"""One finding of a diagnosis: what was looked at, what was found, and what to do about it."""

from __future__ import annotations

from rowbank_protos.v1 import diagnosis_pb2
from rowbank_protos.v1.diagnosis_pb2 import Finding


def fine(check: str, detail: str) -> Finding:
    """Nothing to do."""
    return Finding(check=check, verdict=diagnosis_pb2.VERDICT_OK, detail=detail)


def warn(check: str, detail: str, remedy: str) -> Finding:
    """It works, and may not always."""
    return Finding(check=check, verdict=diagnosis_pb2.VERDICT_WARN, detail=detail, remedy=remedy)


def fail(check: str, detail: str, remedy: str) -> Finding:
    """Something is lost, refused or open, or soon will be."""
    return Finding(check=check, verdict=diagnosis_pb2.VERDICT_FAIL, detail=detail, remedy=remedy)


def unknown(check: str, detail: str, remedy: str = "") -> Finding:
    """It could not be looked at."""
    return Finding(check=check, verdict=diagnosis_pb2.VERDICT_UNKNOWN, detail=detail, remedy=remedy)
