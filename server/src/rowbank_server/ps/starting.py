"""Runs one shard in this process: connects to Redis, judges it, serves, and starts again where that is asked."""

from __future__ import annotations

import logging

from rowbank_server import logs
from rowbank_server.ps.main import ParameterServer
from rowbank_server.ps.roles.again import start_again
from rowbank_server.security import outgoing
from rowbank_server.security.binds import require_private
from rowbank_server.security.tls import served_tls
from rowbank_server.settings import PsSettings, SettingsError
from rowbank_server.storage.connection import connect_at_start, without_password
from rowbank_server.storage.eviction_policy import check_policy
from rowbank_server.tracing import exporting, of_shard

_log = logging.getLogger("rowbank.ps")


def run(settings: PsSettings) -> int:
    """Runs a shard in this process until SIGTERM or SIGINT; returns the exit status.

    Raises:
        SettingsError: the settings do not fit together.
        StartError: an address cannot be listened on, or Redis may evict rows.
        RedisUnavailable: Redis cannot be reached at start.
    """
    logs.configure(settings.log_level, settings.log_format)
    addresses = {"bind": settings.bind, "http_bind": settings.http_bind}
    if settings.listens_natively_at:
        addresses["native_bind"] = settings.listens_natively_at
    require_private(settings, addresses)
    tls, credentials = served_tls(settings), outgoing.credentials(settings)
    if not settings.redis:
        raise SettingsError(
            "setting redis (ROWBANK_REDIS): expected a URL such as redis://127.0.0.1:6379, got none; "
            "`rowbank up` runs a Redis of its own"
        )
    try:
        redis = connect_at_start(
            settings.redis, timeout_s=settings.redis_timeout_s, client_name=f"rowbank-ps-{settings.shard_index}"
        )
    except ValueError as error:
        raise SettingsError(str(error)) from None
    _log.info("connected to %s", without_password(settings.redis))
    try:
        policy = check_policy(redis, allowed=settings.allow_redis_eviction, owns_rows=True)
        server = ParameterServer(settings, redis, policy, tls, credentials)
        server.stop_request.ask_on_signals("rowbank-ps")
        with exporting(of_shard(settings), enabled=settings.tracing):
            status = server.run()
        if server.serving.again and server.serving.wait_for_redis(redis):
            start_again(server.serving.address, server.serving.http)
        return status
    finally:
        redis.close()
