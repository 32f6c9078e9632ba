"""Which processes serve or follow a shard, as each of them says about once a second, in one hash."""

from __future__ import annotations

import json
import logging

from google.protobuf import json_format

from rowbank_protos.v1 import admin_pb2
from rowbank_server.storage.connection import Redis, translated
from rowbank_server.storage.layout import Layout

FORGOTTEN_AFTER_S = 10.0
_WHAT = "members"
_log = logging.getLogger("rowbank.ps")
# KEYS: members. ARGV: our name, a JSON object about us (empty: nothing is said), milliseconds after which who said
# nothing is forgotten. Time is Redis's alone, so that no clock of a process matters. Answers what all said.
_ANNOUNCE = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if ARGV[2] ~= '' then
  local said = string.format('{"seen_ms":%.0f,', now) .. string.sub(ARGV[2], 2)
  redis.call('HSET', KEYS[1], ARGV[1], said)
end
local all, current = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do
  local seen = tonumber(string.match(all[i + 1], '^{"seen_ms":(%d+)') or '0')
  if math.abs(now - seen) > tonumber(ARGV[3]) then
    redis.call('HDEL', KEYS[1], all[i])
  else
    table.insert(current, all[i + 1])
  end
end
return current
"""


class Members:
    """The members of one shard. Thread-safe. Methods raise RedisUnavailable."""

    def __init__(self, redis: Redis, layout: Layout, *, shard: int) -> None:
        self._redis = redis
        self._key = layout.members(shard)
        self._announce = redis.register_script(_ANNOUNCE)

    def announce(self, member: admin_pb2.ShardMember) -> list[admin_pb2.ShardMember]:
        """Says what `member` is now; returns all members, owners first, then by address."""
        said = json_format.MessageToDict(member, preserving_proto_field_name=True)
        return self._exchange(member.server_id, json.dumps(said, separators=(",", ":")))

    def current(self) -> list[admin_pb2.ShardMember]:
        """All members, as `announce` returns them."""
        return self._exchange("", "")

    def forget(self, server_id: str) -> None:
        """Takes a member that ends out."""
        with translated(_WHAT):
            self._redis.hdel(self._key, server_id)

    def _exchange(self, server_id: str, said: str) -> list[admin_pb2.ShardMember]:
        arguments = [server_id, said, round(FORGOTTEN_AFTER_S * 1000)]
        with translated(_WHAT):
            texts: list[bytes] = self._announce(keys=[self._key], args=arguments)
        found = [member for text in texts if (member := _read(text)) is not None]
        return sorted(found, key=lambda member: (member.role != "owner", member.address))


def _read(text: bytes) -> admin_pb2.ShardMember | None:
    """None: it is of another version, and says nothing to this one."""
    try:
        fields = json.loads(text)
        fields.pop("seen_ms", None)
        return json_format.ParseDict(fields, admin_pb2.ShardMember(), ignore_unknown_fields=True)
    except (ValueError, AttributeError, json_format.ParseError):
        _log.debug("a member of the shard says something that cannot be read: %r", text)
        return None
