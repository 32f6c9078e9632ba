"""gRPC channels that speak TLS, show a token, and go by their files as they are now."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import grpc
import grpc.aio

from rowbank.addresses import is_local
from rowbank.credentials import Credentials
from rowbank.errors import InvalidRequest
from rowbank.secure import material
from rowbank.secure.material import Material
from rowbank.secure.tokens import TokenSource, require_safe

Options = Sequence[tuple[str, Any]]
Metadata = Sequence[tuple[str, Any]]

_LOOK_S = 1.0  # Between two looks at the files of certificates.
# Calls that run over a connection whose files were replaced may go on for so long; it is closed when the files are
# replaced another time after that.
_OLD_S = 600.0
# A token must not go through a proxy that happens to be in the environment, to come back to this machine.
_NO_PROXY = (("grpc.enable_http_proxy", 0),)


def open_channel(target: str, credentials: Credentials | None, options: Options = ()) -> grpc.Channel:
    """A channel to one server; it connects when it is first used.

    Args:
        credentials: None: those that the environment names.
    Raises:
        InvalidRequest: they contradict each other, name files that cannot be used, or would send a token in plain text
            to another machine.
    """
    given = Credentials.from_environment() if credentials is None else credentials
    if given == Credentials():
        return grpc.insecure_channel(target, options=options)
    return cast(grpc.Channel, SecuredChannel(target, given, options))


class Dialing:
    """How one server is connected to: TLS or not, with files that are read again when they change.

    Raises:
        InvalidRequest: as `open_channel`.
    """

    def __init__(self, target: str, credentials: Credentials, options: Options) -> None:
        require_safe(target, credentials)
        self.tokens = TokenSource(credentials)
        self._target, self.credentials = target, credentials
        name = credentials.server_name
        self._options = [
            *options,
            *([("grpc.ssl_target_name_override", name)] if name and credentials.ca_file else []),
            *(_NO_PROXY if is_local(target) else ()),
        ]
        self._stamp = material.stamp(credentials)
        self._material = material.load(credentials)
        self._look_at = time.monotonic() + _LOOK_S

    def sync_channel(self) -> grpc.Channel:
        """A channel by the files as they were read last."""
        if self._material is None:
            return grpc.insecure_channel(self._target, options=self._options)
        return grpc.secure_channel(self._target, _channel_credentials(self._material), options=self._options)

    def aio_channel(self) -> grpc.aio.Channel:
        """The same for asyncio."""
        if self._material is None:
            return grpc.aio.insecure_channel(self._target, options=self._options)
        return grpc.aio.secure_channel(self._target, _channel_credentials(self._material), options=self._options)

    def changed(self, *, at_once: bool = False) -> bool:
        """Whether the files hold something else than a moment ago, so that a new channel is to be made.

        Files that cannot be used change nothing: they may be about to be replaced, one after the other.

        Args:
            at_once: look also if that was done within the last second.
        """
        if self._material is None or (time.monotonic() < self._look_at and not at_once):
            return False
        self._look_at = time.monotonic() + _LOOK_S
        now = material.stamp(self.credentials)
        if now == self._stamp:
            return False
        try:
            found = material.load(self.credentials)
        except InvalidRequest:
            return False
        self._stamp, is_new = now, found != self._material
        self._material = found
        return is_new


class SecuredChannel:
    """What is used of a `grpc.Channel`. Threads may share it, as they may a channel."""

    def __init__(self, target: str, credentials: Credentials, options: Options) -> None:
        self._dialing = Dialing(target, credentials, options)
        self.tokens = self._dialing.tokens
        self._channel = self._dialing.sync_channel()
        self._methods: dict[tuple[str, str], Any] = {}
        self._old: list[tuple[float, grpc.Channel]] = []
        self._closed = False

    def unary_unary(self, path: str, *serializers: Any, **options: Any) -> Any:
        """A method of one request and one answer."""
        return _Unary(self, "unary_unary", path, serializers, options)

    def unary_stream(self, path: str, *serializers: Any, **options: Any) -> Any:
        """A method of one request and a stream of answers."""
        return _Method(self, "unary_stream", path, serializers, options)

    def stream_unary(self, path: str, *serializers: Any, **options: Any) -> Any:
        """A method of a stream of requests and one answer."""
        return _Uploading(self, "stream_unary", path, serializers, options)

    def stream_stream(self, path: str, *serializers: Any, **options: Any) -> Any:
        """A method of streams both ways."""
        return _Method(self, "stream_stream", path, serializers, options)

    def current(self, kind: str, path: str, serializers: Sequence[Any], options: dict[str, Any]) -> Any:
        """The method on a connection that goes by the files as they are now."""
        if not self._closed and self._dialing.changed():
            self._open_anew()
        channel = self._channel
        key = (kind, path)
        found = self._methods.get(key)
        if found is None or found[0] is not channel:
            found = self._methods[key] = (channel, getattr(channel, kind)(path, *serializers, **options))
        return found[1]

    def reopened(self) -> bool:
        """Looks at the files now; whether they changed, so that calls go over another connection from now on."""
        is_new = not self._closed and self._dialing.changed(at_once=True)
        if is_new:
            self._open_anew()
        return is_new

    def close(self) -> None:
        """Ends the connection; calls under way are cancelled."""
        self._closed = True
        for channel in (self._channel, *(old for _, old in self._old)):
            channel.close()

    def __enter__(self) -> SecuredChannel:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def _open_anew(self) -> None:
        now = time.monotonic()
        kept = []
        for at, channel in self._old:
            if now - at > _OLD_S:
                channel.close()
            else:
                kept.append((at, channel))
        self._old = [*kept, (now, self._channel)]
        self._channel = self._dialing.sync_channel()


class _Method:
    """A method that shows the channel's token."""

    def __init__(
        self, channel: SecuredChannel, kind: str, path: str, serializers: Sequence[Any], options: dict[str, Any]
    ) -> None:
        self._channel = channel
        self._at = (kind, path, serializers, options)

    def __call__(self, request: Any, timeout: float | None = None, metadata: Any = None, **options: Any) -> Any:
        shown = self._channel.tokens.metadata()
        return self._method()(request, timeout=timeout, metadata=_joined(metadata, shown), **options)

    def _method(self) -> Any:
        return self._channel.current(*self._at)


class _Uploading(_Method):
    def with_call(self, requests: Any, timeout: float | None = None, metadata: Any = None, **options: Any) -> Any:
        shown = self._channel.tokens.metadata()
        return self._method().with_call(requests, timeout=timeout, metadata=_joined(metadata, shown), **options)

    def future(self, requests: Any, timeout: float | None = None, metadata: Any = None, **options: Any) -> Any:
        shown = self._channel.tokens.metadata()
        return self._method().future(requests, timeout=timeout, metadata=_joined(metadata, shown), **options)


class _Unary(_Uploading):
    """One that is refused for its token is made again if there is a new one by then: it did nothing."""

    def __call__(self, request: Any, timeout: float | None = None, metadata: Any = None, **options: Any) -> Any:
        return self._again(lambda shown: self._method()(
            request, timeout=timeout, metadata=_joined(metadata, shown), **options
        ))  # fmt: skip

    def with_call(self, requests: Any, timeout: float | None = None, metadata: Any = None, **options: Any) -> Any:
        return self._again(lambda shown: self._method().with_call(
            requests, timeout=timeout, metadata=_joined(metadata, shown), **options
        ))  # fmt: skip

    def _again(self, call: Callable[[Metadata], Any]) -> Any:
        tokens = self._channel.tokens
        shown = tokens.metadata()
        try:
            return call(shown)
        except grpc.RpcError as error:
            if cast(grpc.Call, error).code() is not grpc.StatusCode.UNAUTHENTICATED or not tokens.changed(shown):
                raise
        return call(tokens.metadata())


def _joined(metadata: Any, shown: Metadata) -> Any:
    return (*(metadata or ()), *shown) or None


def _channel_credentials(found: Material) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(found.cas, found.key, found.certificate)
