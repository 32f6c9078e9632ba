"""Model versions in Redis.

A version is a manifest and its files. Files are written first, in chunks, under keys that expire by themselves; the
manifest is written last, in one transaction that also takes the expiry off the files. So a version exists whole or
not at all, also when the publisher dies half way, and what it left behind goes away.
"""

from __future__ import annotations

import builtins
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from rowbank.errors import InternalError, InvalidModel, ModelNotFound
from rowbank.traffic import Traffic
from rowbank_protos.v1 import models_pb2
from rowbank_server.features.redis_errors import translated

CHUNK_BYTES = 1 << 20
_UNPUBLISHED_TTL_S = 3600
_HISTORY = 100  # Activations remembered for a roll back.
_LOADED_TTL_S = 60.0  # How long a process is believed to have a version loaded, after it said so.
_SHADOW = "#shadow"  # Among the shares; no version is called so.

# KEYS: manifests, active, activations, traffic. ARGV: the version, activations to keep. Answers the version before. A
# version that becomes active leaves the split: it has what the others leave.
_ACTIVATE = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return -1 end
local before = redis.call('GET', KEYS[2]) or ''
redis.call('SET', KEYS[2], ARGV[1])
redis.call('RPUSH', KEYS[3], ARGV[1])
redis.call('LTRIM', KEYS[3], -tonumber(ARGV[2]), -1)
redis.call('HDEL', KEYS[4], ARGV[1])
if redis.call('HGET', KEYS[4], '#shadow') == ARGV[1] then redis.call('HDEL', KEYS[4], '#shadow') end
return before
"""

# KEYS: manifests, active, traffic. ARGV: the active version as the caller saw it, then field and value of each entry.
_REPLACE_TRAFFIC = """
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[1] then return 0 end
for i = 2, #ARGV, 2 do
  local version = ARGV[i] == '#shadow' and ARGV[i + 1] or ARGV[i]
  if redis.call('HEXISTS', KEYS[1], version) == 0 then return 0 end
end
redis.call('DEL', KEYS[3])
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
return 1
"""

# KEYS: manifests, active, traffic, and the version's files. ARGV: the version.
_REMOVE = """
if redis.call('GET', KEYS[2]) == ARGV[1] then return 'active' end
if redis.call('HEXISTS', KEYS[3], ARGV[1]) == 1 or redis.call('HGET', KEYS[3], '#shadow') == ARGV[1] then
  return 'traffic'
end
redis.call('HDEL', KEYS[1], ARGV[1])
for i = 4, #KEYS do redis.call('UNLINK', KEYS[i]) end
return ''
"""


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A version and whether it is the active one of its model."""

    manifest: models_pb2.ModelManifest
    active: bool


class ModelRegistry:
    """Versions of models by name. Thread-safe, as its Redis client is.

    Args:
        client: must answer bytes (`decode_responses=False`).
        namespace: prefix of every key. A model's keys share a hash tag, so that they sit on one node of a cluster.
    """

    def __init__(self, client: redis.Redis, namespace: str = "rowbank") -> None:
        self._redis: Any = client
        self._activate = client.register_script(_ACTIVATE)
        self._replace_traffic = client.register_script(_REPLACE_TRAFFIC)
        self._remove = client.register_script(_REMOVE)
        self._namespace = namespace

    def publish(self, manifest: models_pb2.ModelManifest, files: Mapping[str, bytes]) -> None:
        """Stores a version. What it means is checked by `registry.validation`, that it is complete is checked here.

        Raises:
            InvalidModel: the version exists, or a file is missing, unlisted, or has another size or SHA-256 than
                the manifest says. Nothing is stored.
        """
        check_files(manifest, files)
        name, version = manifest.name, manifest.version
        with translated(f"publication of model {name!r} {version}"):
            self.require_new(manifest)
            self._redis.sadd(f"{self._namespace}:models:names", name)
            keys = [self._write_file(name, version, file, files[file]) for file in sorted(files)]
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.hsetnx(self._key(name, "manifests"), version, manifest.SerializeToString())
                for key in keys:
                    pipe.persist(key)
                created = pipe.execute()[0]
            if not created:
                raise _exists(name, version)

    def require_new(self, manifest: models_pb2.ModelManifest) -> None:
        """Raises InvalidModel if the version exists."""
        with translated(f"model {manifest.name!r} {manifest.version}"):
            if self._redis.hexists(self._key(manifest.name, "manifests"), manifest.version):
                raise _exists(manifest.name, manifest.version)

    def _write_file(self, name: str, version: str, file: str, data: bytes) -> str:
        key = self._key(name, f"file:{version}:{file}")
        with self._redis.pipeline(transaction=False) as pipe:
            for index, start in enumerate(range(0, max(len(data), 1), CHUNK_BYTES)):
                pipe.hset(key, str(index), data[start : start + CHUNK_BYTES])
            pipe.expire(key, _UNPUBLISHED_TTL_S)
            pipe.execute()
        return key

    def take_turn(self, what: str, owner: str, for_s: float) -> bool:
        """Whether this process does something that one at a time may do; the turn ends by itself."""
        with translated(f"turn of {what}"):
            taken = self._redis.set(f"{self._namespace}:models:turn:{what}", owner, nx=True, px=int(for_s * 1000))
        return bool(taken)

    def names(self) -> list[str]:
        """Every model that has a version."""
        with translated("list of models"):
            return sorted(member.decode() for member in self._redis.smembers(f"{self._namespace}:models:names"))

    def list(self, name: str = "") -> list[StoredModel]:
        """Every version of a model, or of all models, by name and then newest first.

        Raises:
            ModelNotFound: a name is given and the registry has no such model.
        """
        out = []
        known = self.names()
        if name and name not in known:
            raise _not_found(name, "", known)
        for model in [name] if name else known:
            active = self.active_version(model)
            with translated(f"list of model {model!r}"):
                stored = self._redis.hgetall(self._key(model, "manifests"))
            for version in sorted((key.decode() for key in stored), reverse=True):
                manifest = models_pb2.ModelManifest.FromString(stored[version.encode()])
                out.append(StoredModel(manifest, version == active))
        return out

    def readers(self, view: str) -> builtins.list[str]:
        """Which versions of any model name a view, in words."""
        return [
            f"model {stored.manifest.name} {stored.manifest.version}"
            for stored in self.list()
            if view
            in (
                stored.manifest.item_view,
                stored.manifest.user_view,
                stored.manifest.item_overlay,
                stored.manifest.user_overlay,
            )
        ]

    def get(self, name: str, version: str = "") -> StoredModel:
        """One version; without a version, the active one.

        Raises:
            ModelNotFound: there is none; the message lists what there is.
        """
        active = self.active_version(name)
        wanted = version or active
        with translated(f"model {name!r}"):
            stored = self._redis.hget(self._key(name, "manifests"), wanted) if wanted else None
        if stored is None:
            raise _not_found(name, version, self.names())
        return StoredModel(models_pb2.ModelManifest.FromString(stored), wanted == active)

    def files(self, manifest: models_pb2.ModelManifest) -> dict[str, bytes]:
        """The files of a version, checked against their SHA-256.

        Raises:
            InternalError: what is stored is not what was published.
        """
        return {file.name: self._read_file(manifest, file) for file in manifest.files}

    def file(self, manifest: models_pb2.ModelManifest, name: str) -> bytes:
        """One file of a version, likewise. Raises `ModelNotFound` if it has no such file."""
        listed = {file.name: file for file in manifest.files}
        if name not in listed:
            raise ModelNotFound(
                f"model {manifest.name!r} {manifest.version} has no file {name!r}; its files: {', '.join(listed)}",
                metadata={"model": manifest.name, "version": manifest.version},
            )
        return self._read_file(manifest, listed[name])

    def _read_file(self, manifest: models_pb2.ModelManifest, file: models_pb2.ModelFile) -> bytes:
        key = self._key(manifest.name, f"file:{manifest.version}:{file.name}")
        with translated(f"file {file.name!r} of model {manifest.name!r}"):
            chunks = self._redis.hgetall(key)
        data = b"".join(chunks[index] for index in sorted(chunks, key=int))
        if hashlib.sha256(data).hexdigest() != file.sha256.lower():
            raise InternalError(
                f"model {manifest.name!r} {manifest.version}: stored file {file.name!r} ({len(data)} bytes) "
                f"does not have its SHA-256 {file.sha256}; publish the model again as a new version"
            )
        return data

    def active_version(self, name: str) -> str:
        """The active version; empty if none is."""
        with translated(f"active version of model {name!r}"):
            active = self._redis.get(self._key(name, "active"))
        return "" if active is None else str(active, "utf-8")

    def traffic(self, name: str) -> Traffic:
        """Who gets which version of a model, the active one included."""
        return self._traffic_of([name]).get(name) or Traffic()

    def traffic_of_all(self) -> dict[str, Traffic]:
        """Of every model that has an active version."""
        return {name: traffic for name, traffic in self._traffic_of(self.names()).items() if traffic.active}

    def _traffic_of(self, names: Sequence[str]) -> dict[str, Traffic]:
        with translated("traffic of models"):
            pipe = self._redis.pipeline(transaction=False)
            for name in names:
                pipe.get(self._key(name, "active"))
                pipe.hgetall(self._key(name, "traffic"))
            answers = iter(pipe.execute() if names else ())
        return {name: _traffic(next(answers), next(answers)) for name in names}

    def replace_traffic(self, name: str, traffic: Traffic) -> bool:
        """Says who gets which version from now on; False, and nothing is changed: another version is active than
        `traffic` says, or one of its versions is not there any more."""
        fields: list[Any] = [part for share in traffic.shares.items() for part in share]
        fields += [_SHADOW, traffic.shadow] if traffic.shadow else []
        keys = [self._key(name, what) for what in ("manifests", "active", "traffic")]
        with translated(f"traffic of model {name!r}"):
            return bool(self._replace_traffic(keys=keys, args=[traffic.active, *fields]))

    def note_loaded(self, loaded: Mapping[str, Collection[str]], now_s: float) -> None:
        """Says which versions this process has loaded, by model; it has to be said again within a minute."""
        with translated("loaded versions"):
            pipe = self._redis.pipeline(transaction=False)
            for name, versions in loaded.items():
                if versions:
                    pipe.zadd(self._key(name, "loaded"), dict.fromkeys(versions, now_s + _LOADED_TTL_S), gt=True)
                    pipe.zremrangebyscore(self._key(name, "loaded"), 0, now_s)
            pipe.execute()

    def loaded(self, name: str, now_s: float) -> frozenset[str]:
        """The versions that some process has loaded, or had a moment ago."""
        with translated(f"loaded versions of model {name!r}"):
            found = self._redis.zrangebyscore(self._key(name, "loaded"), now_s, "+inf")
        return frozenset(version.decode() for version in found)

    def activate(self, name: str, version: str) -> str:
        """Makes a version the active one; services follow within a second. It leaves the split of traffic, if it was in
        it: from now on it has what the others leave.

        Returns:
            The version that was active before; empty if none was.
        Raises:
            ModelNotFound: there is no such version.
        """
        self.get(name, version)
        keys = [self._key(name, what) for what in ("manifests", "active", "activations", "traffic")]
        with translated(f"activation of model {name!r}"):
            before = self._activate(keys=keys, args=[version, _HISTORY])
        if before == -1:
            raise _not_found(name, version, self.names())
        return str(before, "utf-8")

    def previous(self, name: str) -> str:
        """The version to roll back to: the one active before the present one; empty if there is none."""
        active = self.active_version(name)
        with translated(f"activations of model {name!r}"):
            history = [entry.decode() for entry in self._redis.lrange(self._key(name, "activations"), 0, -1)]
            stored = {version.decode() for version in self._redis.hkeys(self._key(name, "manifests"))}
        return next((version for version in reversed(history) if version != active and version in stored), "")

    def remove(self, manifest: models_pb2.ModelManifest) -> None:
        """Forgets a version and its files. One that users may get is refused.

        Raises:
            InvalidModel: the version is active, or traffic names it.
        """
        name, version = manifest.name, manifest.version
        keys = [self._key(name, what) for what in ("manifests", "active", "traffic")]
        keys += [self._key(name, f"file:{version}:{file.name}") for file in manifest.files]
        with translated(f"removal of model {name!r} {version}"):
            kept = self._remove(keys=keys, args=[version])
        if kept == b"active":
            raise InvalidModel(f"model {name!r} {version} is active; activate another version before removing it")
        if kept:
            raise InvalidModel(
                f"model {name!r} {version} is in the split of traffic or its shadow; rowbank models traffic {name} "
                "takes it out"
            )

    def holders(self, table: str) -> Sequence[str]:
        """Stored versions that read a table, or may be continued from it, in words."""
        found = []
        for stored in self.list():
            manifest = stored.manifest
            inputs = [*manifest.query.inputs, *manifest.candidate.inputs]
            held = {part.table for part in inputs} | {part.source for part in manifest.tables}
            if table in held:
                found.append(f"model {manifest.name} {manifest.version}{' (active)' if stored.active else ''}")
        return found

    def _key(self, name: str, what: str) -> str:
        return f"{self._namespace}:models:{{{name}}}:{what}"


def _traffic(active: bytes | None, fields: Mapping[bytes, bytes]) -> Traffic:
    shares = {field.decode(): value.decode() for field, value in fields.items()}
    shadow = shares.pop(_SHADOW, "")
    try:
        numbers = {version: float(share) for version, share in shares.items()}
    except ValueError as error:
        raise InternalError(f"the traffic of a model holds a share that cannot be read: {error}") from error
    return Traffic(numbers, shadow, "" if active is None else active.decode())


def check_files(manifest: models_pb2.ModelManifest, files: Mapping[str, bytes]) -> None:
    """Compares the files that came with the list in the manifest.

    Raises:
        InvalidModel: the first difference.
    """
    what = f"model {manifest.name!r} {manifest.version}"
    listed = {file.name for file in manifest.files}
    if len(listed) != len(manifest.files):
        raise InvalidModel(f"{what}: the manifest lists a file twice")
    for extra in sorted(files.keys() - listed):
        raise InvalidModel(f"{what}: file {extra!r} came, but the manifest does not list it")
    for file in manifest.files:
        if file.name not in files:
            raise InvalidModel(f"{what}: file {file.name!r} is in the manifest, but did not come")
        data = files[file.name]
        if len(data) != file.size:
            raise InvalidModel(f"{what}: file {file.name!r} should have {file.size} bytes, got {len(data)}")
        digest = hashlib.sha256(data).hexdigest()
        if digest != file.sha256.lower():
            raise InvalidModel(f"{what}: file {file.name!r} should have SHA-256 {file.sha256}, got {digest}")


def _exists(name: str, version: str) -> InvalidModel:
    return InvalidModel(
        f"model {name!r} has a version {version} already; publish under another version", metadata={"version": version}
    )


def _not_found(name: str, version: str, known: list[str]) -> ModelNotFound:
    what = f"model {name!r} has no version {version}" if version else f"model {name!r} has no active version"
    if name not in known:
        what = f"model {name!r} does not exist; known models: {', '.join(known) or 'none'}"
    return ModelNotFound(what, metadata={"model": name, "version": version})
