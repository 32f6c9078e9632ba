"""What a shard keeps about itself in Redis: epoch, flush counter, optimizer steps, outcomes of its clients' mutations.

The epoch rises by one whenever a process starts to serve the shard, so a process that finds a higher one than its own
knows that it was replaced; everything it writes here is refused from then on, in the same script that would write it.
Beside the epoch stands its owner, a name that each process makes up: so a process knows an epoch that it took itself,
although the answer never came, from one of another process, even where both have the same number because Redis came
back older.
The flush counter is written last in every write-back; a lower or missing one says that Redis lost writes (it came back
empty, or from an old copy) and that what is in RAM must be written again.
"""

from __future__ import annotations

import enum
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rowbank.errors import NotReady, RedisUnavailable
from rowbank_server.storage.connection import Redis, is_cluster, translated
from rowbank_server.storage.layout import Layout
from rowbank_server.storage.lease import Lease, Sight

_EPOCH, _OWNER, _FLUSH, _STEP_PREFIX = b"epoch", b"owner", b"flush", "step:"
_THROUGH = b"through"
EPOCH_SHIFT = 40  # Positions of a later epoch are above all of an earlier one, whatever became of its records.
_SHARD_COUNT = b"shard_count"
_JOURNAL_PREFIX = b"journal:"

# ARGV[1], ARGV[2]: our epoch and name. Whether another process has the shard; no owner is nobody.
_REPLACED = """
local epoch = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0')
local owner = redis.call('HGET', KEYS[1], 'owner')
local mine = tonumber(ARGV[1])
if owner ~= ARGV[2] and (epoch > mine or (owner and epoch == mine)) then return 0 end
"""
# KEYS: state, dedup. ARGV, after our epoch and name: the least flush counter at which to write; number of fields for
# the state, fields and values; the same for dedup, where an empty value deletes. Answers 0 if another process has the
# shard, and -1 if the counter is lower.
_WRITE = (
    _REPLACED
    + """
if tonumber(redis.call('HGET', KEYS[1], 'flush') or '0') < tonumber(ARGV[3]) then return -1 end
local at = 4
for key = 1, 2 do
  local last = at + 2 * tonumber(ARGV[at])
  for i = at + 1, last, 2 do
    if ARGV[i + 1] == '' then
      redis.call('HDEL', KEYS[key], ARGV[i])
    else
      redis.call('HSET', KEYS[key], ARGV[i], ARGV[i + 1])
    end
  end
  at = last + 1
end
return 1
"""
)
# ARGV: the epoch that we have, and our name. Takes an epoch above it, again if an answer was lost; 0 if another process
# has the shard.
_RECLAIM = (
    _REPLACED
    + """
local taken = math.max(epoch, mine) + 1
redis.call('HSET', KEYS[1], 'epoch', taken, 'owner', ARGV[2])
return taken
"""
)
# KEYS: state, lease. ARGV: the least epoch to take, our name and address, milliseconds of the lease (0: none); then,
# where it is conditional, epoch and owner as they were seen, and 1 if their lease may still hold. Answers the epoch and
# all fields of the state as they were; 0 if another process was faster.
_CLAIM = """
local epoch = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0')
local fields = redis.call('HGETALL', KEYS[1])
if ARGV[5] then
  if epoch ~= tonumber(ARGV[5]) or (redis.call('HGET', KEYS[1], 'owner') or '') ~= ARGV[6] then return {0, fields} end
  local lease = redis.call('GET', KEYS[2])
  if lease and ARGV[7] ~= '1' and string.match(lease, '^[^|]*') ~= ARGV[2] then return {0, fields} end
end
epoch = math.max(epoch + 1, tonumber(ARGV[1]))
redis.call('HSET', KEYS[1], 'epoch', epoch, 'owner', ARGV[2])
if tonumber(ARGV[4]) > 0 then
  redis.call('SET', KEYS[2], string.format('%s|%d|%s', ARGV[2], epoch, ARGV[3]), 'PX', ARGV[4])
end
return {epoch, fields}
"""


def new_owner() -> str:
    """A name for this process that no other has."""
    return uuid.uuid4().hex


class Standing(enum.Enum):
    """What Redis knows of this process."""

    CURRENT = "current"  # All that was written is there.
    LOST = "lost"  # Redis lost writes of ours.
    REPLACED = "replaced"  # Another process serves this shard now.


class UnfinishedJournalError(Exception):
    """Shards of another number left journals behind that only they can replay."""


class OutpacedError(Exception):
    """Another process claimed the shard, or holds its lease, since this one looked."""


@dataclass(slots=True)
class _Mark:
    epoch: int
    flush: int


@dataclass(frozen=True, slots=True)
class Claim:
    """What a shard's predecessor left.

    Attributes:
        steps: table id -> highest step pushed.
        windows: client id -> packed outcomes of its latest mutations.
        through: every mutation up to this position is in Redis's rows, and journals have those after it; None: not
            known, or not this shard's.
    """

    epoch: int
    steps: dict[int, int]
    windows: dict[str, bytes]
    through: int | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """What stands in Redis of a shard that was taken over with its rows.

    Attributes:
        steps: table id -> highest step pushed, as it was stored last.
        flush: how many write-backs had ended.
        through: every mutation up to this position is in Redis's rows.
    """

    epoch: int
    steps: dict[int, int]
    flush: int
    through: int


class ShardState:
    """This process's view of its shard's state. Methods raise RedisUnavailable when Redis cannot be used.

    Args:
        owner: the name of this process; empty: a new one.
    """

    def __init__(self, redis: Redis, layout: Layout, *, shard: int, shard_count: int, owner: str = "") -> None:
        self._redis = redis
        self._layout = layout
        self._shard = shard
        self._shard_count = shard_count
        self._key = layout.state(shard)
        self._write = redis.register_script(_WRITE)
        self._reclaim = redis.register_script(_RECLAIM)
        self._claim = redis.register_script(_CLAIM)
        self._owner = owner or new_owner()
        self._mark = _Mark(0, 0)
        self._flushes = 0  # Tried, so that none has the number of one whose answer was lost.
        self._run_ids = ""
        self._restarted = False

    @property
    def restarted(self) -> bool:
        """Whether Redis may have been restarted before `standing` was asked last, also where it does not tell."""
        return self._restarted

    @property
    def epoch(self) -> int:
        """The epoch that `claim` or `reclaim` got."""
        return self._mark.epoch

    @property
    def flush(self) -> int:
        """The number of the last write-back that ended."""
        return self._mark.flush

    def claim(self, least_epoch: int = 0, *, lease: Lease | None = None, seen: Sight | None = None) -> Claim:
        """Takes over the shard: raises its epoch, and reads what the predecessor stored.

        After the number of shards changed, no shard's own step is right for its new buckets, so each takes the
        highest that any shard had for a table, and an epoch above all of theirs, because rows keep the positions
        that their former owners gave them.

        Args:
            least_epoch: the least epoch to take.
            lease: taken with it.
            seen: only if the shard is as it was seen, without a lease of another.
        Raises:
            OutpacedError: it is not.
            UnfinishedJournalError: the number changed while shards had journals that were not written back.
        """
        with translated("shard state"):
            highest = max(int(self._redis.hget(self._layout.shards, _SHARD_COUNT) or 0), self._shard_count)
            same_count = int(self._redis.hget(self._key, _SHARD_COUNT) or 0) == self._shard_count
            if not same_count:
                least_epoch = max(least_epoch, self._least_epoch(highest))
            epoch, fields = self._raise_epoch(least_epoch, lease, seen)
            self._mark = _Mark(epoch, 0)
            self._flushes = 0
            self._run_ids = self._read_run_ids()
            self._redis.hset(self._layout.shards, _SHARD_COUNT, highest)
            steps: dict[int, int] = {}
            for shard in [self._shard] if same_count else range(highest):
                for table_id, step in self._read_steps(shard).items():
                    steps[table_id] = max(steps.get(table_id, 0), step)
            # What shards of another number wrote back says nothing of this one's mutations, which begin here.
            begins = {} if same_count else {_THROUGH: epoch << EPOCH_SHIFT}
            self._store({_SHARD_COUNT: self._shard_count, _FLUSH: 0, **begins, **_step_fields(steps)}, {})
        through = int(fields[_THROUGH]) if same_count and _THROUGH in fields else None
        return Claim(self._mark.epoch, steps, self.windows(), through)

    def take_over(self, seen: Sight, *, least_epoch: int, lease: Lease, handed_over: bool) -> Taken:
        """Raises the epoch for a process that has the shard's rows already.

        Nothing else of the state changes: the counter of write-backs goes on where it is.

        Args:
            seen: how the shard must be, by epoch and owner, without a lease of another.
            least_epoch: the least epoch to take.
            handed_over: the owner's lease may still hold.
        Raises:
            OutpacedError: the shard is not as it was seen any more.
        """
        with translated("shard state"):
            epoch, fields = self._raise_epoch(least_epoch, lease, seen, handed_over=handed_over)
            self._run_ids = self._read_run_ids()
        flush = int(fields.get(_FLUSH, 0))
        self._mark = _Mark(epoch, flush)
        self._flushes = flush
        return Taken(epoch, _steps_of(fields), flush, int(fields.get(_THROUGH, 0)))

    def raise_epoch(self, least_epoch: int, *, lease: Lease) -> int:
        """Takes a higher epoch for the shard that this process has. Raises OutpacedError if it has not."""
        mine = Sight(epoch=self._mark.epoch, owner=self._owner)
        with translated("shard state"):
            self._mark.epoch, _ = self._raise_epoch(least_epoch, lease, mine)
        return self._mark.epoch

    def windows(self) -> dict[str, bytes]:
        """Client id -> packed outcomes, as they were stored last."""
        with translated("shard state"):
            windows: dict[bytes, bytes] = self._redis.hgetall(self._layout.dedup(self._shard))
        return {name.decode(): data for name, data in windows.items()}

    def reclaim(self) -> int:
        """Takes a new epoch after Redis lost the old one. Raises NotReady if another process has the shard."""
        with translated("shard state"):
            epoch = int(self._reclaim(keys=[self._key], args=[self._mark.epoch, self._owner]))
            if not epoch:
                raise _replaced()
            self._mark = _Mark(epoch, 0)
            self._store({_SHARD_COUNT: self._shard_count, _FLUSH: 0}, {})
        return epoch

    def standing(self) -> Standing:
        """Compares what this process wrote last with what Redis has."""
        with translated("shard state"):
            owner, *numbers = self._redis.hmget(self._key, _OWNER, _EPOCH, _FLUSH)
            run_ids = self._read_run_ids()
        epoch, flush = (int(number or 0) for number in numbers)
        mine = owner == self._owner.encode()
        if not mine and (epoch > self._mark.epoch or (owner is not None and epoch == self._mark.epoch)):
            return Standing.REPLACED
        # The nodes of a Cluster fail one by one: the counter, on one node, says nothing about the others.
        restarted, self._run_ids = run_ids != self._run_ids, run_ids
        self._restarted = restarted or not run_ids
        # A higher epoch of ours is one whose answer was lost; what was to be written in its name was not.
        if epoch != self._mark.epoch or flush < self._mark.flush or (restarted and is_cluster(self._redis)):
            return Standing.LOST
        return Standing.CURRENT

    def write(
        self,
        steps: Mapping[int, int],
        windows: Mapping[str, bytes] | None = None,
        gone: Iterable[str] = (),
        *,
        through: int = 0,
    ) -> None:
        """Ends a write-back: stores `steps` (table id -> step) and changed windows, and counts the flush.

        Args:
            windows: client id -> packed outcomes.
            gone: clients that are not remembered any more.
            through: every mutation up to this position is written; 0: not known.
        Raises:
            NotReady: another process serves the shard; nothing was written.
            RedisUnavailable: Redis failed, or restarted since `standing` was asked, and may have lost any part of what
                was written since.
        """
        self._flushes += 1
        flush = self._flushes
        with translated("shard state"):
            changes = {**dict.fromkeys(gone, b""), **(windows or {})}
            fields = {_FLUSH: flush, **_step_fields(steps), **({_THROUGH: through} if through else {})}
            self._store(fields, changes, least_flush=self._mark.flush)
            self._mark.flush = flush
            restarted = self._read_run_ids() != self._run_ids
        if restarted:
            raise RedisUnavailable("Redis was restarted or replaced during a write-back; it is repeated")

    def forget_table(self, table_id: int) -> None:
        """Deletes the step of a dropped table."""
        with translated("shard state"):
            self._redis.hdel(self._key, f"{_STEP_PREFIX}{table_id}")

    def _raise_epoch(
        self, least_epoch: int, lease: Lease | None, seen: Sight | None, *, handed_over: bool = False
    ) -> tuple[int, dict[bytes, bytes]]:
        """The epoch taken, and the state's fields before that. Raises OutpacedError."""
        terms: list[str | int] = ["", 0] if lease is None else [lease.address, lease.lease_ms]
        condition: list[str | int] = [] if seen is None else [seen.epoch, seen.owner, int(handed_over)]
        keys = [self._key, self._layout.lease(self._shard)]
        epoch, pairs = self._claim(keys=keys, args=[least_epoch, self._owner, *terms, *condition])
        if not epoch:
            raise OutpacedError
        return int(epoch), dict(zip(pairs[::2], pairs[1::2], strict=True))

    def _store(self, fields: Mapping[bytes, int], windows: Mapping[str, bytes], *, least_flush: int = 0) -> None:
        arguments: list[bytes | str | int] = [self._mark.epoch, self._owner, least_flush, len(fields)]
        for name, number in fields.items():
            arguments += [name, number]
        arguments.append(len(windows))
        for client, data in windows.items():
            arguments += [client, data]
        outcome = int(self._write(keys=[self._key, self._layout.dedup(self._shard)], args=arguments))
        if outcome < 0:
            raise RedisUnavailable("Redis lost writes of this shard; everything is written again")
        if not outcome:
            raise _replaced()

    def _least_epoch(self, shard_count: int) -> int:
        """Above the epochs of all shards. Raises UnfinishedJournalError."""
        least = 1
        for shard in range(shard_count):
            fields: dict[bytes, bytes] = self._redis.hgetall(self._layout.state(shard))
            least = max(least, int(fields.get(_EPOCH, 0)) + 1)
            former = int(fields.get(_SHARD_COUNT, 0))
            if former not in (0, self._shard_count) and any(name.startswith(_JOURNAL_PREFIX) for name in fields):
                raise UnfinishedJournalError(
                    f"shard {shard}/{former} was not stopped cleanly: its journal holds mutations that only it can "
                    f"replay; start all {former} shards, stop them with SIGTERM and a drain_timeout_s in which "
                    "all rows can be written, then change their number"
                )
        return least

    def _read_run_ids(self) -> str:
        """Which runs of which Redis servers these are; of a server that does not say, nothing."""
        if not is_cluster(self._redis):
            return str(self._redis.info("server").get("run_id", ""))
        answers = self._redis.info("server", target_nodes=self._redis.PRIMARIES)
        nodes = [answers] if "run_id" in answers else answers.values()
        return ",".join(sorted(str(node["run_id"]) for node in nodes))

    def _read_steps(self, shard: int) -> dict[int, int]:
        return _steps_of(self._redis.hgetall(self._layout.state(shard)))


def _steps_of(fields: Mapping[bytes, bytes]) -> dict[int, int]:
    prefix = _STEP_PREFIX.encode()
    return {int(name[len(prefix) :]): int(step) for name, step in fields.items() if name.startswith(prefix)}


def _step_fields(steps: Mapping[int, int]) -> dict[bytes, int]:
    return {f"{_STEP_PREFIX}{table_id}".encode(): step for table_id, step in steps.items()}


def _replaced() -> NotReady:
    return NotReady("another process has taken over this shard; nothing is written any more")
