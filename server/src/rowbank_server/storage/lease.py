"""The owner's sign of life: a key that expires unless the owner sets it again.

It says when a standby should try to take over, and never who may write or acknowledge: that is what the shard's epoch
decides, in the scripts that write. So neither a clock nor a pause of a process can hurt more than time.
"""

from __future__ import annotations

from dataclasses import dataclass

from rowbank_server.storage.connection import Redis, translated
from rowbank_server.storage.layout import Layout

_WHAT = "lease"
# KEYS: state, lease. ARGV: our epoch, name and address, milliseconds. Answers 0 if another process has the shard.
_RENEW = """
if tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0') ~= tonumber(ARGV[1]) then return 0 end
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[2], ARGV[2] .. '|' .. ARGV[1] .. '|' .. ARGV[3], 'PX', ARGV[4])
return 1
"""
# KEYS: lease. ARGV: our name.
_RELEASE = """
local lease = redis.call('GET', KEYS[1])
if lease and string.match(lease, '^[^|]*') == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""
# KEYS: state, lease.
_LOOK = """
local fields = redis.call('HMGET', KEYS[1], 'epoch', 'owner', 'shard_count', 'flush', 'through')
for i = 1, 5 do fields[i] = fields[i] or '' end
fields[6] = redis.call('GET', KEYS[2]) or ''
fields[7] = tostring(redis.call('PTTL', KEYS[2]))
fields[8] = '1'
for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(name, 1, 8) == 'journal:' then fields[8] = '' end
end
return fields
"""


@dataclass(frozen=True, slots=True)
class Sight:
    """What Redis said about a shard at one moment.

    Attributes:
        epoch: 0: nobody ever owned the shard, or Redis lost it.
        owner: name of the process that claimed it last; empty: none.
        shard_count: of that process; 0: none.
        flush: how many write-backs it has ended.
        through: every mutation up to this position is in Redis's rows.
        holder: name of the process that has the lease; empty: nobody.
        address: where that one is reached.
        left_s: seconds until the lease ends, unless it is renewed.
        clean: there is no journal: the last owner was stopped and wrote everything, or there was none.
    """

    epoch: int = 0
    owner: str = ""
    shard_count: int = 0
    flush: int = 0
    through: int = 0
    holder: str = ""
    address: str = ""
    left_s: float = 0.0
    clean: bool = False


class Lease:
    """One shard's lease, as one process sees and holds it. Thread-safe. Methods raise RedisUnavailable.

    Attributes:
        owner: the name of this process.
        address: where others reach it.
        lease_s: how long the lease holds.
    """

    def __init__(self, redis: Redis, layout: Layout, *, shard: int, owner: str, lease_s: float) -> None:
        self.owner = owner
        self.address = ""
        self.lease_s = lease_s
        self._keys = [layout.state(shard), layout.lease(shard)]
        self._renew = redis.register_script(_RENEW)
        self._release = redis.register_script(_RELEASE)
        self._look = redis.register_script(_LOOK)

    @property
    def lease_ms(self) -> int:
        """How long the lease holds."""
        return round(self.lease_s * 1000)

    def renew(self, epoch: int) -> bool:
        """Holds the lease from now on for `lease_s`; False: the shard is not this process's in `epoch`."""
        with translated(_WHAT):
            return bool(self._renew(keys=self._keys, args=[epoch, self.owner, self.address, self.lease_ms]))

    def release(self) -> None:
        """Ends the lease, if it is this process's."""
        with translated(_WHAT):
            self._release(keys=self._keys[1:], args=[self.owner])

    def look(self) -> Sight:
        """Who owns the shard, and whether it says so."""
        with translated(_WHAT):
            fields: list[bytes] = self._look(keys=self._keys)
        epoch, owner, shard_count, flush, through, lease, left_ms, clean = (field.decode() for field in fields)
        holder, _, rest = lease.partition("|")
        return Sight(
            epoch=int(epoch or 0),
            owner=owner,
            shard_count=int(shard_count or 0),
            flush=int(flush or 0),
            through=int(through or 0),
            holder=holder,
            address=rest.partition("|")[2],
            left_s=max(0, int(left_ms)) / 1000,
            clean=bool(clean),
        )
