"""What a start of the retrieval service checks before anything else."""

from __future__ import annotations

import logging

from rowbank_server.retrieval.index.faiss_index import FaissMissingError, require_faiss
from rowbank_server.security.binds import require_private
from rowbank_server.settings import ApiSettings, SettingsError
from rowbank_server.storage.connection import Redis, connect_at_start, without_password
from rowbank_server.storage.eviction_policy import check_policy

_log = logging.getLogger("rowbank.api")


def connect(settings: ApiSettings) -> Redis:
    """A connection to Redis, once the settings are found to fit together.

    Raises:
        SettingsError: the settings do not fit together or to this machine.
        StartError: Redis may evict keys.
        RedisUnavailable: Redis cannot be reached.
    """
    require_private(settings, {"bind": settings.bind, "grpc_bind": settings.grpc_bind})
    if not settings.redis:
        raise SettingsError(
            "setting redis (ROWBANK_REDIS): expected a URL such as redis://127.0.0.1:6379, got none; "
            "`rowbank up` runs a Redis of its own"
        )
    if settings.index_kind == "faiss":
        try:
            require_faiss()
        except FaissMissingError as error:
            raise SettingsError(f"setting index_kind (ROWBANK_API_INDEX_KIND): {error}") from None
    try:
        redis = connect_at_start(settings.redis, timeout_s=settings.redis_timeout_s, client_name="rowbank-api")
    except ValueError as error:
        raise SettingsError(str(error)) from None
    _log.info("connected to %s", without_password(settings.redis))
    try:
        check_policy(redis, allowed=settings.allow_redis_eviction, owns_rows=False)
    except BaseException:
        redis.close()
        raise
    return redis
