"""Errors cross a real gRPC socket and come out as the class they went in as."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterator

import grpc
import pytest

from rowbank import errors
from rowbank_protos.v1 import rows_pb2, rows_pb2_grpc


class Failing(rows_pb2_grpc.RowServiceServicer):
    """Fails in whatever way the test asks for."""

    fail: Callable[[grpc.ServicerContext], None]

    def Size(self, request, context):  # noqa: N802 - the service's name
        type(self).fail(context)
        return rows_pb2.SizeResponse()


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    rows_pb2_grpc.add_RowServiceServicer_to_server(Failing(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def received(target: str, fail: Callable[[grpc.ServicerContext], None]) -> errors.RequestError:
    """Returns what `from_rpc_error` makes of the failed call."""
    Failing.fail = staticmethod(fail)
    with grpc.insecure_channel(target) as channel, pytest.raises(grpc.RpcError) as raised:
        rows_pb2_grpc.RowServiceStub(channel).Size(rows_pb2.SizeRequest())
    return errors.from_rpc_error(raised.value, target=target)


@pytest.mark.parametrize("cls", errors.BY_REASON.values(), ids=lambda cls: cls.reason)
def test_error_arrives_as_the_class_it_was(target, cls):
    def fail(context: grpc.ServicerContext) -> None:
        code, message, trailers = errors.to_status(cls("what, got, expected: ü", metadata={"table": "t", "key": "7"}))
        context.set_trailing_metadata(trailers)
        context.abort(code, message)

    error = received(target, fail)
    assert type(error) is cls
    assert error.message == "what, got, expected: ü"
    assert error.metadata.items() >= {"table": "t", "key": "7"}.items()


@pytest.mark.parametrize(
    ("code", "cls"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.ShardUnavailable),
        (grpc.StatusCode.CANCELLED, errors.ShardUnavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.DeadlineExceeded),
        (grpc.StatusCode.INVALID_ARGUMENT, errors.InvalidRequest),
        (grpc.StatusCode.UNIMPLEMENTED, errors.InternalError),
    ],
)
def test_status_without_details_is_grpc_s_own(target, code, cls):
    error = received(target, lambda context: context.abort(code, "said gRPC"))
    assert type(error) is cls
    assert error.message == f"{target}: {code.name}: said gRPC"


def test_a_message_too_large_for_grpc_names_the_setting(target):
    error = received(target, lambda context: context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "larger than max"))
    assert type(error) is errors.RequestTooLarge
    assert error.message.startswith(f"{target}: RESOURCE_EXHAUSTED: larger than max (server setting max_message_bytes)")
    assert error.metadata["setting"] == "max_message_bytes"


@pytest.mark.parametrize("details", [b"\xff\xff not a Status", b""])
def test_details_of_others_are_ignored(target, details):
    def fail(context: grpc.ServicerContext) -> None:
        context.set_trailing_metadata(((errors.DETAILS_KEY, details),))
        context.abort(grpc.StatusCode.UNAVAILABLE, "a proxy's")

    assert type(received(target, fail)) is errors.ShardUnavailable


def test_reasons_and_codes_are_those_agreed():
    """Other programs branch on them, so a change here is a change of the protocol."""
    assert {reason: (cls.code.name, cls.retryable) for reason, cls in errors.BY_REASON.items()} == {
        "TABLE_NOT_FOUND": ("NOT_FOUND", False),
        "MEMORY_LIMIT": ("RESOURCE_EXHAUSTED", False),
        "TOKEN_NOT_FOUND": ("NOT_FOUND", False),
        "UNAUTHENTICATED": ("UNAUTHENTICATED", False),
        "PERMISSION_DENIED": ("PERMISSION_DENIED", False),
        "TABLE_EXISTS": ("ALREADY_EXISTS", False),
        "ID_COLLISION": ("ALREADY_EXISTS", False),
        "TABLE_HELD": ("FAILED_PRECONDITION", False),
        "TABLE_FROZEN": ("FAILED_PRECONDITION", False),
        "MODEL_DIFFERS": ("FAILED_PRECONDITION", False),
        "INVALID_SPEC": ("INVALID_ARGUMENT", False),
        "INVALID_REQUEST": ("INVALID_ARGUMENT", False),
        "DIM_MISMATCH": ("INVALID_ARGUMENT", False),
        "NON_FINITE_GRADIENT": ("INVALID_ARGUMENT", False),
        "REQUEST_TOO_LARGE": ("INVALID_ARGUMENT", False),
        "REDIS_UNAVAILABLE": ("UNAVAILABLE", True),
        "SHARD_UNAVAILABLE": ("UNAVAILABLE", True),
        "SERVICE_UNAVAILABLE": ("UNAVAILABLE", True),
        "NOT_READY": ("UNAVAILABLE", True),
        "DEADLINE_EXCEEDED": ("DEADLINE_EXCEEDED", True),
        "OVERLOADED": ("RESOURCE_EXHAUSTED", True),
        "UNKNOWN_ITEM": ("NOT_FOUND", False),
        "UNKNOWN_USER": ("NOT_FOUND", False),
        "FILTER_NOT_FOUND": ("NOT_FOUND", False),
        "WRONG_SHARD": ("FAILED_PRECONDITION", False),
        "NOT_OWNER": ("FAILED_PRECONDITION", False),
        "REPLICA_TOO_STALE": ("FAILED_PRECONDITION", False),
        "FOLLOWER_TOO_SLOW": ("ABORTED", True),
        "WORKER_NOT_FOUND": ("NOT_FOUND", False),
        "WORKER_REPLACED": ("FAILED_PRECONDITION", False),
        "VERSION_MISMATCH": ("FAILED_PRECONDITION", False),
        "SNAPSHOT_NOT_FOUND": ("NOT_FOUND", False),
        "MODEL_NOT_FOUND": ("NOT_FOUND", False),
        "INVALID_MODEL": ("INVALID_ARGUMENT", False),
        "VIEW_NOT_FOUND": ("NOT_FOUND", False),
        "INVALID_FEATURE": ("INVALID_ARGUMENT", False),
        "INTERNAL": ("INTERNAL", False),
    }
