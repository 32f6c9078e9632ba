"""Every error of Rowbank: one reason, one gRPC status code, one class.

Callers branch on the class, never on the text. A server raises these classes; `to_status` turns them into a gRPC
status whose details (trailer `grpc-status-details-bin`) carry the reason, and `from_rpc_error` turns that back into
the same class at the other end. docs/protocol.md lists the reasons.
"""

# ruff: noqa: N818 - the names are the reasons: TABLE_NOT_FOUND is TableNotFound.

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, cast

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError

from rowbank_protos.v1 import common_pb2

if TYPE_CHECKING:
    from typing_extensions import Self

DOMAIN = "rowbank"
DETAILS_KEY = "grpc-status-details-bin"
REQUEST_ID_KEY = "x-request-id"
_ERROR_INFO_URL = "type.googleapis.com/google.rpc.ErrorInfo"


class RowbankError(Exception):
    """The root of everything that Rowbank raises on purpose.

    Attributes:
        message: what was wrong, what was got, what was expected.
        metadata: the same facts as strings, for programs: {"table": "user"}.
        request_id: of the request that failed, as the server's log has it; empty: the server has not seen it.
    """

    request_id = ""

    def __init__(self, message: str, *, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: dict[str, str] = dict(metadata or {})

    def worded(self, message: str, **metadata: str) -> Self:
        """The same error in other words, with more facts."""
        result = type(self)(message, metadata={**self.metadata, **metadata})
        result.request_id = self.request_id
        return result


class ClientClosed(RowbankError):
    """The client was used after `close`."""


class MissingPackage(RowbankError, ImportError):
    """A package that this needs is not installed; the message names the extra that brings it."""


class InvalidFile(RowbankError, ValueError):
    """A file is missing, damaged, changed or not what it should be; the message names it."""


class RequestError(RowbankError):
    """One request failed and changed nothing, except where a subclass says that this is not known.

    Class attributes:
        reason: the stable name of the cause.
        code: the gRPC status it travels as.
        retryable: whether the same request may succeed later, unchanged.
    """

    reason: ClassVar[str]
    code: ClassVar[grpc.StatusCode]
    retryable: ClassVar[bool] = False


class TableNotFound(RequestError):
    """The table does not exist."""

    reason, code = "TABLE_NOT_FOUND", grpc.StatusCode.NOT_FOUND


class TableExists(RequestError):
    """A table of that name exists, with a different spec or without `exist_ok`."""

    reason, code = "TABLE_EXISTS", grpc.StatusCode.ALREADY_EXISTS


class TableHeld(RequestError):
    """A stored model version or a running job holds the table, so it is not dropped or cleared without `force`."""

    reason, code = "TABLE_HELD", grpc.StatusCode.FAILED_PRECONDITION


class TableFrozen(RequestError):
    """The table is a read-only copy that belongs to a model version; its rows do not change."""

    reason, code = "TABLE_FROZEN", grpc.StatusCode.FAILED_PRECONDITION


class InvalidSpec(RequestError, ValueError):
    """A table's spec contradicts itself or is out of range."""

    reason, code = "INVALID_SPEC", grpc.StatusCode.INVALID_ARGUMENT


class InvalidRequest(RequestError, ValueError):
    """A request is malformed: a wrong data type, shape, byte length or value."""

    reason, code = "INVALID_REQUEST", grpc.StatusCode.INVALID_ARGUMENT


class DimMismatch(RequestError, ValueError):
    """Rows have another width than the table."""

    reason, code = "DIM_MISMATCH", grpc.StatusCode.INVALID_ARGUMENT


class NonFiniteGradient(RequestError, ValueError):
    """A gradient, value or delta is NaN or infinite."""

    reason, code = "NON_FINITE_GRADIENT", grpc.StatusCode.INVALID_ARGUMENT


class RequestTooLarge(RequestError, ValueError):
    """A request is beyond a limit; the message names the limit and the setting."""

    reason, code = "REQUEST_TOO_LARGE", grpc.StatusCode.INVALID_ARGUMENT


class RedisUnavailable(RequestError):
    """The server cannot reach Redis, and the request needs it."""

    reason, code, retryable = "REDIS_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE, True


class ShardUnavailable(RequestError):
    """A shard could not be reached until the deadline. A mutation may or may not have been applied."""

    reason, code, retryable = "SHARD_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE, True


class ServiceUnavailable(RequestError):
    """No retrieval service could be reached until the deadline."""

    reason, code, retryable = "SERVICE_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE, True


class NotReady(RequestError):
    """The server is starting (loading its tables) or draining."""

    reason, code, retryable = "NOT_READY", grpc.StatusCode.UNAVAILABLE, True


class DeadlineExceeded(RequestError):
    """The deadline passed first. A mutation may or may not have been applied."""

    reason, code, retryable = "DEADLINE_EXCEEDED", grpc.StatusCode.DEADLINE_EXCEEDED, True


class Overloaded(RequestError):
    """More waits than the server takes; it refused this at once and did nothing. Try again a moment later.

    The metadata say how long a moment is: `retry_after_s`.
    """

    reason, code, retryable = "OVERLOADED", grpc.StatusCode.RESOURCE_EXHAUSTED, True

    def __init__(self, message: str, *, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message, metadata={"retry_after_s": "1", **(metadata or {})})


class MemoryLimit(RequestError):
    """A table is at its budget of bytes, or the shard at its limit of memory: no new rows, no new tables.

    Rows that exist go on being trained and read. The metadata name the `table` that grew most, and the `limit_bytes`.
    """

    reason, code = "MEMORY_LIMIT", grpc.StatusCode.RESOURCE_EXHAUSTED


class Unauthenticated(RequestError):
    """The server asks for a token, and there was none, or none that it knows: unknown, expired or revoked."""

    reason, code = "UNAUTHENTICATED", grpc.StatusCode.UNAUTHENTICATED


class PermissionDenied(RequestError):
    """The token's role or scope does not allow the call; the metadata say which `role` does."""

    reason, code = "PERMISSION_DENIED", grpc.StatusCode.PERMISSION_DENIED


class TokenNotFound(RequestError):
    """No token has that name or id."""

    reason, code = "TOKEN_NOT_FOUND", grpc.StatusCode.NOT_FOUND


class FilterNotFound(RequestError):
    """No filter of that name is stored with the model."""

    reason, code = "FILTER_NOT_FOUND", grpc.StatusCode.NOT_FOUND


class UnknownItem(RequestError):
    """The catalogue, or the view of items, has no such item."""

    reason, code = "UNKNOWN_ITEM", grpc.StatusCode.NOT_FOUND


class UnknownUser(RequestError):
    """The view of users has no such user."""

    reason, code = "UNKNOWN_USER", grpc.StatusCode.NOT_FOUND


class NotOwner(RequestError):
    """The server is a replica, which answers reads alone; the metadata name the shard's `owner`, if it is known."""

    reason, code = "NOT_OWNER", grpc.StatusCode.FAILED_PRECONDITION


class ReplicaTooStale(RequestError):
    """A replica's rows are older than the request allows; the owner's are not."""

    reason, code = "REPLICA_TOO_STALE", grpc.StatusCode.FAILED_PRECONDITION


class FollowerTooSlow(RequestError):
    """A follower was so far behind that what it had not read yet was given up; it can go on from its position."""

    reason, code, retryable = "FOLLOWER_TOO_SLOW", grpc.StatusCode.ABORTED, True


class WrongShard(RequestError):
    """Keys were sent to a shard that does not own them: the client's list of targets is not the cluster's."""

    reason, code = "WRONG_SHARD", grpc.StatusCode.FAILED_PRECONDITION


class VersionMismatch(RequestError):
    """Client and server are of versions that do not speak with each other."""

    reason, code = "VERSION_MISMATCH", grpc.StatusCode.FAILED_PRECONDITION


class SnapshotNotFound(RequestError):
    """A snapshot that is being saved was given up, because it was not read for a while or the shard was restarted."""

    reason, code = "SNAPSHOT_NOT_FOUND", grpc.StatusCode.NOT_FOUND


class WorkerNotFound(RequestError):
    """The worker is no member of its group: its lease ran out, or the server was restarted. It may join again."""

    reason, code = "WORKER_NOT_FOUND", grpc.StatusCode.NOT_FOUND


class WorkerReplaced(RequestError):
    """Another process joined the group under this worker's id."""

    reason, code = "WORKER_REPLACED", grpc.StatusCode.FAILED_PRECONDITION


class ModelNotFound(RequestError):
    """The registry has no such model or version."""

    reason, code = "MODEL_NOT_FOUND", grpc.StatusCode.NOT_FOUND


class InvalidModel(RequestError, ValueError):
    """A published model contradicts itself, its files or the tables it names."""

    reason, code = "INVALID_MODEL", grpc.StatusCode.INVALID_ARGUMENT


class ModelDiffers(RequestError):
    """The version differs strongly from the active one, so it is not activated without `force`."""

    reason, code = "MODEL_DIFFERS", grpc.StatusCode.FAILED_PRECONDITION


class ViewNotFound(RequestError):
    """There is no such feature view."""

    reason, code = "VIEW_NOT_FOUND", grpc.StatusCode.NOT_FOUND


class InvalidFeature(RequestError, ValueError):
    """A feature view or a feature's value is malformed."""

    reason, code = "INVALID_FEATURE", grpc.StatusCode.INVALID_ARGUMENT


class IdCollision(RequestError):
    """Two ids that are texts have the same key, so the second one cannot be stored."""

    reason, code = "ID_COLLISION", grpc.StatusCode.ALREADY_EXISTS


class InternalError(RequestError):
    """A defect of the server; its log has the details."""

    reason, code = "INTERNAL", grpc.StatusCode.INTERNAL


def shown(value: object, *, limit: int = 80) -> str:
    """`value` as a message shows what it got: its repr, cut; of an integer that is too long to read, its length."""
    if isinstance(value, int) and value.bit_length() > 1024:
        return f"an integer of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}..."


def _subclasses(cls: type[RequestError]) -> Iterator[type[RequestError]]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


# Every class by its reason.
BY_REASON: dict[str, type[RequestError]] = {cls.reason: cls for cls in _subclasses(RequestError)}

# gRPC drops a status whose trailers have more than 8 KiB, and the message is in them twice, once with three bytes for
# each that is not ASCII.
_MESSAGE_BYTES = 1500
_VALUE_BYTES = 500

# What a status means when no details came with it: gRPC itself made it, not one of our servers.
_BARE = {
    grpc.StatusCode.UNAVAILABLE: ShardUnavailable,
    grpc.StatusCode.CANCELLED: ShardUnavailable,  # A server that ends cancels what it has not begun.
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.RESOURCE_EXHAUSTED: RequestTooLarge,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
}

# What gRPC says of a connection that fails, by a part of it.
_CONNECTION_WORDS = {
    "Connection refused": "connection refused: nothing listens there",
    "lookup": "no such host",
    "DNS resolution failed": "no such host",
    "No such file or directory": "no such socket",
    "No route to host": "no route to that host",
    "Network is unreachable": "the network is unreachable",
}


def to_status(error: RequestError) -> tuple[grpc.StatusCode, str, tuple[tuple[str, bytes], ...]]:
    """The status code, message and trailing metadata by which `error` travels; long texts lose their middle."""
    message = _short(error.message, _MESSAGE_BYTES)
    metadata = {name: _short(value, _VALUE_BYTES) for name, value in error.metadata.items()}
    info = common_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    status = common_pb2.Status(
        code=error.code.value[0],
        message=message,
        details=[any_pb2.Any(type_url=_ERROR_INFO_URL, value=info.SerializeToString())],
    )
    return error.code, message, ((DETAILS_KEY, status.SerializeToString()),)


def _short(text: str, most: int) -> str:
    """`text` as UTF-8 of about `most` bytes: its beginning and its end."""
    data = text.encode("utf-8", "replace")
    if len(data) <= most:
        return text
    head, tail = data[: most // 2].decode("utf-8", "ignore"), data[-(most // 2) :].decode("utf-8", "ignore")
    return f"{head}...{tail}"


def from_rpc_error(error: grpc.RpcError, *, target: str = "") -> RequestError:
    """The error that a failed call stands for; `target` is named where the network is to blame."""
    # Every RpcError of a call is a grpc.Call too, which the type of the argument cannot say.
    call = cast(grpc.Call, error)
    trailers = call.trailing_metadata() or ()
    result = _told(call, _error_info(trailers), target)
    result.request_id = _request_id(trailers)
    return result


def _told(call: grpc.Call, info: common_pb2.ErrorInfo | None, target: str) -> RequestError:
    message = call.details() or ""
    if info is not None and info.reason in BY_REASON:
        return BY_REASON[info.reason](message, metadata=info.metadata)
    code = call.code()
    where = f"{target}: " if target else ""
    metadata = {"target": target, "status": code.name}
    cls = _BARE.get(code, InternalError)
    if cls is RequestTooLarge:  # gRPC names the numbers, and not whose they are.
        metadata["setting"] = "max_message_bytes"
        message += " (server setting max_message_bytes); send several smaller requests"
    return cls(f"{where}{_plain(code, message)}", metadata=metadata)


def _plain(code: grpc.StatusCode, details: str) -> str:
    """What gRPC says of a connection, in plain words where it is one of the usual things."""
    if code is grpc.StatusCode.UNAVAILABLE:
        for found, words in _CONNECTION_WORDS.items():
            if found in details:
                return words
    return f"{code.name}: {details}"


def _request_id(trailers: object) -> str:
    if not isinstance(trailers, Iterable):
        return ""
    return next((value for key, value in trailers if key == REQUEST_ID_KEY and isinstance(value, str)), "")


def _error_info(trailers: object) -> common_pb2.ErrorInfo | None:
    if not isinstance(trailers, Iterable):
        return None
    for key, value in trailers:  # Pairs, also where they are a mapping of grpc.aio.
        if key != DETAILS_KEY or not isinstance(value, bytes):
            continue
        try:
            for detail in common_pb2.Status.FromString(value).details:
                if detail.type_url == _ERROR_INFO_URL:
                    info = common_pb2.ErrorInfo.FromString(detail.value)
                    return info if info.domain == DOMAIN else None
        except DecodeError:
            return None  # Not ours: something between the two ends wrote it.
    return None
