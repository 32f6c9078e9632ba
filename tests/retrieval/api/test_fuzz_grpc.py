"""Messages that nobody would write, and bytes that are none: refused, and never a defect."""

from __future__ import annotations

import random
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from tests.retrieval.api.conftest import Both

from rowbank.errors import InternalError, RequestError, from_rpc_error
from rowbank_protos.v1 import retrieval_pb2

SERVICE = retrieval_pb2.DESCRIPTOR.services_by_name["RetrievalService"]
CALLS = [method.name for method in SERVICE.methods]
INTEGERS = [0, 1, -1, 5, 107, 1000, 1001, 2**31 - 1, 2**63 - 1, -(2**63)]
NUMBERS = [0.0, -0.0, 1.0, -1.5, 1e-300, 1e300, float("inf"), float("-inf"), float("nan"), 1e10]
TEXTS = ["", "1", "107", "v1", "two_tower", "brand", "year", "title", "now-7d", "a", "é\x00", "x" * 2000, "_seen_view"]
UNSIGNED = {FieldDescriptor.TYPE_UINT32: 2**32 - 1, FieldDescriptor.TYPE_UINT64: 2**64 - 1}


def value(rng: random.Random, field: Any) -> Any:
    if field.type in UNSIGNED:
        return min(abs(rng.choice(INTEGERS)), UNSIGNED[field.type])
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return rng.choice(NUMBERS)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return rng.random() < 0.5
    if field.type == FieldDescriptor.TYPE_BYTES:
        return rng.randbytes(rng.randrange(20))
    return rng.choice(TEXTS) if field.cpp_type == FieldDescriptor.CPPTYPE_STRING else rng.choice(INTEGERS)


def fill(rng: random.Random, message: Any, depth: int = 0) -> Any:
    """Sets some of the fields, however they fit together."""
    for field in message.DESCRIPTOR.fields:
        if rng.random() < (0.5 if depth else 0.6) or depth > 5:
            continue
        if field.message_type is None:
            if field.label == field.LABEL_REPEATED:
                getattr(message, field.name).extend(value(rng, field) for _ in range(rng.randrange(4)))
            else:
                setattr(message, field.name, value(rng, field))
        elif field.message_type.GetOptions().map_entry:
            key, held = field.message_type.fields
            for _ in range(rng.randrange(3)):
                name = value(rng, key)
                if held.message_type is None:
                    getattr(message, field.name)[name] = value(rng, held)
                else:
                    fill(rng, getattr(message, field.name)[name], depth + 1)
        elif field.label == field.LABEL_REPEATED:
            for _ in range(rng.randrange(3)):
                fill(rng, getattr(message, field.name).add(), depth + 1)
        else:
            child = getattr(message, field.name)
            child.SetInParent()
            fill(rng, child, depth + 1)
    return message


def outcome(call: Any, data: bytes) -> RequestError | None:
    try:
        call(data, timeout=60)
    except grpc.RpcError as error:
        return from_rpc_error(error)
    return None


@pytest.mark.parametrize("name", CALLS)
def test_no_message_is_a_defect(both: Both, name: str) -> None:
    rng = random.Random(name)
    kind = getattr(retrieval_pb2, SERVICE.methods_by_name[name].input_type.name)
    call = both.channel.unary_unary(f"/{SERVICE.full_name}/{name}", None, None)
    seen: dict[str, int] = {}
    for _ in range(60):
        message = fill(rng, kind())
        error = outcome(call, message.SerializeToString())
        assert not isinstance(error, InternalError), (message, error)
        seen[error.reason if error else "OK"] = seen.get(error.reason if error else "OK", 0) + 1
    assert set(seen) <= {
        "OK",
        "INVALID_REQUEST",
        "INVALID_FEATURE",
        "UNKNOWN_ITEM",
        "UNKNOWN_USER",
        "MODEL_NOT_FOUND",
        "FILTER_NOT_FOUND",
    }


@pytest.mark.parametrize("name", CALLS)
def test_no_bytes_are_a_defect(both: Both, name: str) -> None:
    """Right messages with some bytes changed, cut off or added, and bytes of no sense at all."""
    rng = random.Random(f"bytes {name}")
    kind = getattr(retrieval_pb2, SERVICE.methods_by_name[name].input_type.name)
    call = both.channel.unary_unary(f"/{SERVICE.full_name}/{name}", None, None)
    for _ in range(40):
        data = bytearray(fill(rng, kind()).SerializeToString() or rng.randbytes(10))
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        data = data[: rng.randrange(len(data) + 1)] if rng.random() < 0.3 else data + rng.randbytes(rng.randrange(3))
        error = outcome(call, bytes(data))
        assert not isinstance(error, InternalError), (bytes(data), error)
    assert "Traceback" not in both.api.log
