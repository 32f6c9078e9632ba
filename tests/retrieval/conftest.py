"""A real Redis and a namespace of its own for every test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
import redis

from rowbank_server.features import FeatureStore
from rowbank_server.registry import ModelRegistry


@pytest.fixture
def connection(redis_url: str) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(redis_url)
    yield client
    client.close()


@pytest.fixture
def namespace() -> str:
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def store(connection: redis.Redis, namespace: str) -> FeatureStore:
    return FeatureStore(connection, namespace)


@pytest.fixture
def registry(connection: redis.Redis, namespace: str) -> ModelRegistry:
    return ModelRegistry(connection, namespace)
