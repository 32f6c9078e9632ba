"""The native core: row tables in RAM.

Arrays must be C-contiguous and of the stated type; they are never converted or copied, and a mismatch is a ValueError
that says what was expected and what was got. Everything that works on rows releases the GIL and is thread-safe: one
key's operations are linearizable, a batch is not atomic across keys. `now` is unix seconds, 0 to 2^32 - 1.
"""

import builtins
import enum
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
U32 = npt.NDArray[np.uint32]
U8 = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.uint8] | npt.NDArray[np.bool_]
F32 = npt.NDArray[np.float32]
Values = npt.NDArray[np.float32] | npt.NDArray[np.float16] | npt.NDArray[np.uint16]
"""Row values: float32, float16, or uint16 holding the bits of bfloat16; converted to and from the table's own type."""
Score = Literal["frequency", "last_used"]
Policy = Literal["lfu", "lru", "none"]

def hash_keys(keys: I64) -> U64:
    """The hash of each key [N]; the twin of rowbank.hashing."""

def bucket_of(keys: I64, bucket_count: int) -> U32:
    """The bucket of each key [N]."""

def new_message(size: int) -> tuple[bytes, npt.NDArray[np.uint8]]:
    """A new `bytes` object of `size` unset bytes, and a writable array over them.

    To be filled before the object is passed on: nobody may see `bytes` change.
    """

def decode_feature_values(values: list[bytes | None], kind: int) -> dict[str, npt.NDArray[Any]]:
    """One column of stored features. The GIL is released.

    Args:
        values: serialized values; None: there is none.
        kind: 0 int64, 1 double, 2 string, 3 bool, 4 int64 list, 5 float list, 6 string list, 7 timestamp.
    Returns:
        states [N] uint8: 0 missing, 1 there, 2 of a form that is not read here, 3 null; digests [N] uint64 of the
        bytes, 0 where nothing is there; and of integers, doubles, bools, floats, text with text_ends those that the
        kind fills: a number or text for each value, or of lists all elements, with ends [N] where each list ends.
    """

def take_texts(data: U8, ends: I64, places: I64) -> tuple[U8, I64]:
    """The texts at [M] places: their bytes one after the other, and where each ends. The GIL is released."""

def texts_at(data: U8, ends: I64, places: I64) -> list[str]:
    """The texts at [M] places, of bytes in UTF-8 one after the other, and where each ends.

    Raises:
        ValueError: a place that there is not, or an end of one of these texts that is out of order.
        UnicodeDecodeError: bytes that are no UTF-8.
    """

def distinct_texts(data: U8, ends: I64) -> tuple[npt.NDArray[np.int32], I64]:
    """[N] int32: a number for each text, counted from 0 as they come first; [U] int64: where each comes first."""

def hset_command(key: bytes, keys: I64, packed: bytes) -> bytes:
    """HSET of the packed rows of `keys` [N] into the hash `key`, in Redis's protocol. The GIL is released.

    Raises:
        ValueError: no keys, or `packed` is not N rows of one size.
    """

def hdel_command(key: bytes, keys: I64) -> bytes:
    """HDEL of the rows of `keys` [N] from the hash `key`, in Redis's protocol. Raises ValueError if there are none."""

def all_finite(array: Values) -> bool:
    """False when any element is NaN or infinite."""

def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli) of `data`. Above 64 KiB other threads run meanwhile."""

def cpu_variant() -> Literal["baseline", "avx2", "avx512"]:
    """Which build of the arithmetic runs on this CPU. All give the same bits."""

class Initializer:
    """Initial values as a function of (seed, table name, key, element)."""

    def __init__(self, kind: str, a: float = 0.0, b: float = 0.0, seed: int = 0) -> None:
        """`kind` and what a and b mean: zeros; constant (value); uniform (low, high); normal and truncated_normal
        (mean, standard deviation; truncated at two deviations).

        Raises:
            ValueError: unknown kind, numbers that are not finite, low above high, negative deviation.
        """

class Optimizer:
    """An update rule and its numbers, named as on the wire; missing ones take Keras's defaults."""

    def __init__(self, kind: str, **numbers: float) -> None:
        """`kind`: sgd, momentum, adagrad, rowwise_adagrad, adam, adamw, rmsprop, ftrl. Booleans are 0 or 1. All kinds
        take clip_value and max_norm (0: off).

        Raises:
            ValueError: unknown kind or number, or a number out of range.
        """
    @property
    def kind(self) -> str: ...
    @property
    def numbers(self) -> dict[str, float]: ...

class PushCounts:
    @property
    def distinct(self) -> int:
        """Distinct keys in the push."""
    @property
    def inserted(self) -> int:
        """Rows that were created."""
    @property
    def not_admitted(self) -> int:
        """Distinct keys that have no row yet and trained the common row."""

class ExportedRows:
    @property
    def keys(self) -> I64: ...
    @property
    def values(self) -> F32:
        """[N, dim], whatever the stored type."""
    @property
    def frequency(self) -> U32: ...
    @property
    def last_used(self) -> U32: ...
    @property
    def slots(self) -> F32 | None:
        """[N, slot_width], None unless asked for."""

class DirtyRows:
    @property
    def keys(self) -> I64:
        """Rows to write, [N]."""
    @property
    def packed(self) -> bytes:
        """N packed rows of packed_row_bytes each, in the order of `keys`."""
    @property
    def removed_keys(self) -> I64:
        """Rows to delete."""

class LoadedFields:
    @property
    def loaded(self) -> int: ...
    @property
    def corrupt(self) -> list[bytes]:
        """Fields of another length than a key's, or whose value has another length, a wrong checksum, another format or
        belongs to another bucket; not loaded."""

class Ranks:
    @property
    def rows(self) -> int: ...
    @property
    def below(self) -> int:
        """Rows that go before `low`."""
    @property
    def within(self) -> int:
        """Rows from `low` to `high`."""
    @property
    def standings(self) -> npt.NDArray[np.uint64]:
        """Of the rows within: of all if they are at most `limit`, else of some, spread evenly; in no order."""
    @property
    def lots(self) -> npt.NDArray[np.uint64]:
        """As `standings`; of equal standings the lower lot goes first."""

class RestrictReport:
    @property
    def rows_before(self) -> int: ...
    @property
    def rows_after(self) -> int: ...
    @property
    def evicted(self) -> int: ...
    @property
    def bytes(self) -> int:
        """RAM of the evicted rows."""
    @property
    def score_cut(self) -> float:
        """The highest score that goes; 0.0 when nothing does."""
    @property
    def sample_keys(self) -> I64:
        """The first keys to go, at most `sample`, worst first."""
    @property
    def evicted_keys(self) -> I64:
        """All keys that went; empty in a preview."""
    @property
    def evicted_frequency(self) -> U32:
        """Their frequencies, as `lookup` says them."""
    @property
    def evicted_last_used(self) -> U32: ...
    @property
    def packed_keys(self) -> I64:
        """Those of them that were packed as they went, see `RowTable.keep_evicted`; `packed` has their rows."""
    @property
    def packed(self) -> builtins.bytes: ...

class CycleReport:
    @property
    def outcome(self) -> Literal["below_watermark", "out_of_time", "nothing_to_evict", "complete"]:
        """evict_cycle: below_watermark (goal reached, or no cap was passed), out_of_time (run again soon),
        nothing_to_evict (the goal cannot be reached: policy none). expire: complete or out_of_time."""
    @property
    def evicted(self) -> int: ...
    @property
    def bytes(self) -> int:
        """row_bytes for each evicted row."""
    @property
    def score_cut(self) -> float:
        """Rows that score less went first (expire: rows last used before this time); 0.0 when nothing went."""
    @property
    def duration_ms(self) -> float: ...
    @property
    def evicted_keys(self) -> I64: ...
    @property
    def evicted_frequency(self) -> U32:
        """Their frequencies, as `lookup` says them."""
    @property
    def evicted_last_used(self) -> U32: ...
    @property
    def packed_keys(self) -> I64:
        """Those of them that were packed as they went, see `RowTable.keep_evicted`; `packed` has their rows."""
    @property
    def packed(self) -> builtins.bytes: ...

class WhatIf:
    """A policy to try in thought."""

    def __init__(
        self,
        *,
        policy: Policy,
        cap_rows: int = 0,
        low_watermark: float = 0.9,
        half_life_s: float = 0.0,
        ttl_s: int = 0,
        min_count: int = 0,
    ) -> None:
        """0 is none of a cap, decay, age, admission. Raises ValueError."""

class SimulatedPolicy:
    """Counts of sampled keys in the second half of the sample."""

    @property
    def pulls(self) -> int: ...
    @property
    def pull_hits(self) -> int: ...
    @property
    def pushes(self) -> int: ...
    @property
    def push_hits(self) -> int: ...
    @property
    def live_pull_hits(self) -> int:
        """What the table itself found."""
    @property
    def live_push_hits(self) -> int: ...
    @property
    def regretted(self) -> int: ...
    @property
    def evicted(self) -> int: ...
    @property
    def all_pulls(self) -> float:
        """Of all keys meanwhile, sampled or not; about."""
    @property
    def all_pushes(self) -> float: ...
    @property
    def rate(self) -> float:
        """Of keys that were replayed."""
    @property
    def rows_at_end(self) -> float:
        """Of all keys."""
    @property
    def counted_s(self) -> float: ...
    @property
    def rows_kept_now(self) -> int:
        """Of the rows that there are, if it were the policy from now on."""

class Simulated:
    @property
    def rows(self) -> int: ...
    @property
    def accesses(self) -> int:
        """In the sample."""
    @property
    def rate(self) -> float:
        """Of keys that are in it."""
    @property
    def sampled_s(self) -> float: ...
    @property
    def policies(self) -> list[SimulatedPolicy]: ...

class TableStats:
    """Counts since the table was made."""

    @property
    def pulled_found(self) -> int: ...
    @property
    def pulled_initialized(self) -> int: ...
    @property
    def pulled_not_admitted(self) -> int: ...
    @property
    def pushed(self) -> int:
        """Distinct keys, push by push."""
    @property
    def inserted(self) -> int: ...
    @property
    def not_admitted(self) -> int:
        """Of those pushed: keys that trained the common row."""
    @property
    def evicted(self) -> int:
        """By restrict and by evict_cycle."""
    @property
    def expired(self) -> int: ...
    @property
    def removed(self) -> int:
        """By callers, clear included."""
    @property
    def regretted(self) -> int:
        """Pushes of keys that had been evicted or had expired less than regret_window_s before."""

class RowDescription:
    @property
    def key(self) -> int: ...
    @property
    def bucket(self) -> int: ...
    @property
    def frequency(self) -> int: ...
    @property
    def last_used(self) -> int: ...
    @property
    def position(self) -> int: ...
    @property
    def dirty(self) -> bool:
        """Changed since it was last taken by take_dirty."""
    @property
    def values(self) -> F32: ...
    @property
    def slots(self) -> F32:
        """[slot_width]; slots lie one after the other in the order of RowTable.slot_names."""

KNOWN_NEW: int
KNOWN_UNDER_WAY: int
KNOWN_ANSWERED: int
KNOWN_OTHER_KIND: int
KNOWN_TOO_OLD: int

class UnderWay:
    """A mutation under way."""

    @property
    def client_id(self) -> str: ...
    @property
    def sequence(self) -> int: ...
    @property
    def kind(self) -> int: ...

class DedupWindow:
    """Answers by client and sequence; see ps/durability/dedup.py. Thread-safe."""

    def __init__(self, *, window: int, max_clients: int) -> None: ...
    def enter(self, client_id: str, sequence: int, kind: int) -> tuple[int, UnderWay | None, bytes]:
        """What is known of a request, as one of KNOWN_*: who works on it, if anybody does, and its answer, if there is
        one. Of a new one, the caller has to `complete` or `fail` it."""
    def complete(self, mutation: UnderWay, answer: bytes) -> None:
        """Ends it with its answer. Raises an error if that is longer than 65,535 bytes."""
    def fail(self, mutation: UnderWay) -> None:
        """Ends it as if it had not been."""
    def done(self, mutation: UnderWay) -> bool: ...
    def wait(self, mutation: UnderWay, timeout_s: float) -> bool:
        """Whether it is done within that time."""
    def replay(self, client_id: str, sequence: int, kind: int, answer: bytes) -> None:
        """Remembers an answer that somebody else gave, unless it is older than the window."""
    def restore(self, client_id: str, packed: bytes) -> bool:
        """Puts a packed window in the place of the client's. False: it is corrupt."""
    def merge(self, client_id: str, packed: bytes) -> bool:
        """Adds a packed window to the client's. False: it is corrupt."""
    def take_changes(self) -> tuple[dict[str, bytes], list[str]]:
        """Windows that changed since the last call, packed, and clients that were forgotten."""
    def give_back(self, changed: Sequence[str], gone: Sequence[str]) -> None:
        """Lists them as changed and forgotten again."""
    def mark_all_changed(self) -> None: ...
    def clients(self) -> list[str]:
        """The one that was heard last comes last."""
    def packed(self, client_id: str) -> bytes | None:
        """Its window; None: it is not known."""

class MutationGate:
    """See ps/durability/gate.py. Thread-safe."""

    def __init__(self) -> None: ...
    def enter(self) -> None:
        """Waits while it is closed; followed by `leave`."""
    def leave(self) -> None: ...
    def note_unfollowed(self) -> None:
        """REQUIRES: the caller is inside. Lets in who enters only while nobody follows, until it is closed."""
    def close(self, timeout_s: float) -> bool:
        """Waits until nobody is inside. False: that took too long, and it is open."""
    def open(self) -> bool:
        """False: it was."""

class StepCounter:
    """The highest optimizer step of a table. Thread-safe."""

    def __init__(self, step: int) -> None: ...
    @property
    def step(self) -> int: ...
    def next(self, asked: int) -> int:
        """The step of a push: `asked`, or for 0 the one after the highest. Raises OverflowError if there is none."""
    def raise_to(self, step: int) -> None:
        """Never sets it back."""

class JournalEntry:
    """One mutation's way through the journal; only its queue changes it."""

    @property
    def position(self) -> int: ...
    @property
    def synced(self) -> bool: ...
    @property
    def appended(self) -> bool:
        """False: its record is for followers alone, and never appended."""

class JournalGroup:
    """What is appended as one entry of the stream."""

    @property
    def number(self) -> int:
        """Of its id; rises."""
    @property
    def entries(self) -> list[JournalEntry]: ...
    @property
    def records(self) -> list[tuple[bytes, bytes]]:
        """Of each entry that was not appended yet: head and body."""

class Appended(enum.Enum):
    """How an append went: Redis answered something else than an id; or the connection broke, or was silent."""

    YES = ...
    REFUSED = ...
    UNKNOWN = ...

class Waited(enum.Enum):
    """How waiting ended."""

    YES = ...
    FENCED = ...
    FAILED = ...
    TOO_LONG = ...

class JournalQueue:
    """Gives mutations their positions and hands their records to whoever appends them. Thread-safe.

    Attributes:
        stream: counts streams; the number of the one that groups are for now.
    """

    def __init__(
        self,
        window: DedupWindow,
        *,
        max_pending_bytes: int,
        max_bytes: int,
        max_released_bytes: int,
        wait_s: float,
    ) -> None:
        """Nothing is queued.

        Args:
            window: remembers what is done.
            max_pending_bytes: records in RAM that are not appended yet, beyond which mutations are refused.
            max_bytes: records in the stream that are not written back yet, beyond which mutations are refused.
            max_released_bytes: of records of relaxed tables that wait for their turn to be released.
            wait_s: how long a mutation waits for its append before its caller is told to try again.
        """
    @property
    def wait_s(self) -> float: ...
    @property
    def max_pending_bytes(self) -> int: ...
    @property
    def max_bytes(self) -> int: ...
    def reopened(self, position: int) -> None:
        """Goes on in a new stream, with what is queued first. Positions to come are above `position`."""
    def fence(self) -> None:
        """Gives up: nothing is appended or acknowledged any more."""
    def stop(self) -> None:
        """Lets those who append end once nothing is queued."""
    def may_begin(self) -> bool:
        """Whether a mutation could be appended soon, as far as is known."""
    def begin(self, *, synced: bool, appended: bool) -> JournalEntry:
        """Takes the next position. Then `submit` and `applied`, in any order, or `abandon`."""
    def submit(self, entry: JournalEntry, head: bytes, body: bytes, answer: bytes, under_way: UnderWay | None) -> None:
        """Queues the record. Once the mutation is done, repeats of `under_way`, if there is one, get `answer`."""
    def abandon(self, entry: JournalEntry) -> None:
        """Forgets an entry whose mutation failed before it was submitted."""
    def applied(self, entry: JournalEntry, took_s: float) -> None:
        """The mutation is in RAM. `took_s`: processor time that it took; 0: not known."""
    def wait(self, entry: JournalEntry, timeout_s: float) -> bool:
        """Waits until the entry is done, or waiting for it makes no sense any more; returns whether it is done."""
    def take_group(self) -> JournalGroup | None:
        """What to append next; waits for it. None: it was fenced or stopped."""
    def append(self, socket: int, key: str, timeout_s: float, stream: int) -> tuple[Appended, JournalGroup | None]:
        """Appends to a stream of Redis over a socket that nobody else uses, group after group.

        Returns when one has landed that has to be looked after (synced entries, records that are kept, a stream that
        fills), or has not; a group of None: it was fenced or stopped, or goes on in another stream than `stream`.

        Args:
            timeout_s: how long the socket may be silent.
        """
    def pause(self, seconds: float, stream: int) -> None:
        """Waits before another try; less long where that is not wanted any more, or goes to another stream."""
    def landed(self, group: JournalGroup, stream: int) -> bool:
        """It was appended to `stream`. False: that was lost since. Entries of synced tables have to be finished."""
    def failed(self, why: str, *, missing: bool) -> bool:
        """An append failed; `missing`: because there is no stream. Returns whether the last one had not."""
    def finish(self, entry: JournalEntry) -> None:
        """Counts one of the two halves, applied and appended; the second makes the entry done."""
    def wait_appended(self, position: int, timeout_s: float) -> Waited:
        """Waits until everything up to `position` is appended."""
    @property
    def last_position(self) -> int: ...
    @property
    def done_through(self) -> int:
        """All mutations up to this position are done."""
    @property
    def released_through(self) -> int:
        """Everything up to this position is applied and appended, and followers can have it."""
    @property
    def released_until(self) -> float:
        """Every mutation that was acknowledged before this time, monotonic seconds, was released."""
    @property
    def lag_s(self) -> float:
        """Age of the oldest mutation that is not appended; 0: all are."""
    @property
    def failure(self) -> str:
        """Why the last append failed; empty: it did not."""
    @property
    def missing(self) -> bool:
        """Whether the stream was gone at the last append."""
    @property
    def fenced(self) -> bool: ...
    @property
    def stopping(self) -> bool: ...
    @property
    def has_unappended(self) -> bool: ...
    @property
    def pending_bytes(self) -> int: ...
    @property
    def stream(self) -> int: ...
    @property
    def appended_records(self) -> int: ...
    @property
    def appended_groups(self) -> int: ...
    @property
    def stored_bytes(self) -> int:
        """Bytes of records in the stream."""
    @property
    def filling(self) -> bool:
        """Whether it is time to make room: five eighths of what the stream may hold are there."""
    @property
    def crowding(self) -> float:
        """How far the stream is from four fifths of what it may hold (0, and less below that) to all of it (1)."""

    @property
    def gone_through(self) -> int:
        """Every record above this position is in the stream, or will be."""
    @property
    def replay_s(self) -> float:
        """About how long a replay of what is in the stream would take."""
    def has_done(self, position: int) -> bool:
        """Whether the oldest entry of the stream holds nothing above `position`."""
    def passed(self, position: int, *, most_bytes: int) -> int:
        """The number of the last of the oldest entries that hold nothing above `position`, of as many as have
        `most_bytes`, or one; 0: there is none."""
    def forget(self, number: int) -> bool:
        """Entries up to `number` were deleted; returns whether none is left."""
    def first_after(self, position: int) -> int | None:
        """The number of the first entry that may have records above `position`; None: none has."""
    @property
    def keeps_records(self) -> bool: ...
    def keep_records(self, on: bool) -> int:
        """Whether records are kept for `take_released`; returns the position released last."""
    def take_released(self) -> tuple[list[tuple[int, bool, bytes, bytes, float]], int]:
        """What was released since the last call, and the position released last.

        Each is its position, whether it tells instead that relaxed mutations up to there are lost, head and body of its
        record, and when it was begun in monotonic seconds.
        """
    @property
    def unreleased(self) -> int:
        """How many mutations were begun and not released."""

class MutationLock:
    """What mutations of one table agree on while they take their positions and are applied.

    Attributes:
        journaled_position: of the last mutation that is in the journal; written under the lock.
        optimizer: that the rows are updated with, serialized; written under the lock.
    """

    journaled_position: int
    optimizer: bytes
    def __enter__(self) -> None: ...
    def __exit__(self, *raised: object) -> None: ...

class Authors:
    """Who made which of the latest mutations. Thread-safe."""

    def note(self, position: int, client_id: str, caller: str) -> None: ...
    def of(self, position: int) -> tuple[str, str] | None: ...

def pack_record_head(
    *,
    kind: int,
    position: int,
    now_s: int,
    sequence: int,
    client_id: bytes,
    answer: bytes,
    tables: list[tuple[int, bytes, bytes, int]],
    body_bytes: int,
    body_crc: int,
) -> bytes:
    """The head of a journal record; `tables` have id, optimizer, outcome and step. Raises ValueError where a length
    does not go into its field."""

class RowTable:
    def __init__(
        self,
        *,
        name: str,
        dim: int,
        value_dtype: str,
        initializer: Initializer,
        optimizer: Optimizer,
        bucket_count: int = 256,
        half_life_s: float = 0.0,
        track_reads: bool = False,
        min_count: int = 0,
        admission_window: int = 1048576,
        regret_window_s: int = 3600,
    ) -> None:
        """An empty table.

        Args:
            value_dtype: float32, float16, bfloat16.
            half_life_s: 0: frequencies never decay.
            track_reads: pulls renew `last_used` (in RAM; it is written back with the row's next change).
            min_count: 0 to 255. Above 1 a key gets its own row at its n-th pushed occurrence; until then pulls answer
                NOT_ADMITTED with the common row, and pushes train that. Counted in a sketch of 16 bytes per occurrence
                of the window, allocated bucket by bucket when first needed and lost on a restart.
            admission_window: pushed occurrences of keys without rows after which all counts are halved.
            regret_window_s: a push of a key that was evicted no longer ago than this counts as regretted.

        Raises:
            ValueError: a number out of range or an unknown type.
        """
    @property
    def name(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def value_dtype(self) -> str: ...
    @property
    def bucket_count(self) -> int: ...
    @property
    def slot_names(self) -> list[str]:
        """One name per slot; each is `dim` floats, except accumulator_mean: one."""
    @property
    def slot_width(self) -> int:
        """Floats of optimizer state per row."""
    @property
    def packed_row_bytes(self) -> int: ...
    def pull(self, keys: I64, out: Values, status: U8, *, now: int) -> None:
        """Fills out [N, dim] and status [N] (RowStatus). Absent keys read initial values and stay absent."""

    def lookup(
        self,
        keys: I64,
        out: Values,
        found: Flags,
        *,
        frequency: U32 | None = None,
        last_used: U32 | None = None,
        positions: U64 | None = None,
    ) -> None:
        """Fills out [N, dim] and found [N]; zeros where absent. No side effects."""

    def contains(self, keys: I64) -> U8:
        """1 for each key [N] that has a row, else 0. No side effects."""

    def simulate(self, what_ifs: Sequence[WhatIf], *, now: int) -> Simulated:
        """What these policies would have done with the sampled accesses, and would do with the rows there are.

        A replay begins with the rows that there were when the sample began, is warmed by the first half of the
        accesses and counts the second; a cycle runs after each second that has accesses. Exact where the sample has
        all keys, but for keys that are not admitted yet, which are counted exactly and never forgotten, and for a
        half-life other than the table's, which starts from the frequencies there are.
        """

    def histogram(self, *, now: int) -> tuple[int, U64, U64]:
        """Rows; [33] of them by frequency as it counts now, [33] by seconds since the last use: 0, 1, 2 to 3, ..."""

    def standing(self, key: int, *, score: Score, now: int) -> tuple[int, int, float] | None:
        """Rows, those that eviction would take before the key's, and its score; None: it has no row."""

    def seen(self, key: int) -> int:
        """About how often a key without a row was pushed lately, up to 255; 0 where every key is admitted."""

    def set_sample_bytes(self, size: int) -> None:
        """How much the access sample may hold, 24 bytes an access; 0: off, as a table is made."""

    def access_sample(self) -> dict[str, Any]:
        """The sampled accesses, oldest first, and the rate of keys that it has: columns [N] keys, at, frequency and
        last_used (of the row just before; 0 without one), occurrences, push, found; rate."""

    def usage(self, keys: I64) -> tuple[U8, U32, U32]:
        """Which keys have rows, their frequencies and last uses, as `lookup` says them."""

    def frequencies(self, keys: I64) -> U32:
        """How often each row was used, as `lookup` says it; 0 where absent. No side effects."""

    def push(
        self,
        keys: I64,
        gradients: Values,
        counts: U32 | None = None,
        *,
        step: int,
        now: int,
        position: int = 0,
        learning_rate: float | None = None,
        clip_value: float | None = None,
        max_norm: float | None = None,
        admission: Literal["by_count", "own", "common"] = "by_count",
    ) -> PushCounts:
        """Sums the gradients [N, dim] of repeated keys in input order, clips them and updates each row once. An absent
        key starts from its initial values and slots. Frequencies grow by `counts` (None: 1 each).

        Args:
            step: at least 1; drives Adam's bias correction.
            position: journal position of this mutation, below 2^62; a row keeps the highest it has seen.
            learning_rate, clip_value, max_norm: for this push only; None: the table's.
            admission: to repeat a push whose outcome is known: own gives every key a row of its own, common trains
                the common row with all of them.
        Raises:
            ValueError: shapes, types, step 0, overrides out of range; nothing is changed. Gradients are not
                searched for NaN here: see all_finite.
        """

    def upsert(self, keys: I64, values: Values, *, now: int, position: int = 0, touch: bool = False) -> int:
        """Sets values [N, dim]; of repeats the last counts. New rows get initial slots and frequency 0.

        Returns rows added.

        Args:
            touch: counts an occurrence of each key that then has a row, at once: no `take_dirty` sees one without the
                other.
        """

    def accumulate(
        self, keys: I64, deltas: Values, exists: Flags, *, now: int, position: int = 0, touch: bool = False
    ) -> int:
        """Per key: present and exists adds; absent and not exists inserts the delta as values; else nothing.

        Repeats apply one after the other. Returns how many applied. `touch`: see `upsert`.
        """

    def touch(self, keys: I64, counts: U32 | None = None, *, now: int, position: int = 0) -> int:
        """Adds counts (None: 1 each) to the frequency and renews last_used of stored rows.

        Returns how many of the keys were stored.
        """

    def positions(self, keys: I64) -> U64:
        """The journal position [N] that each row has seen last; 0 where the row is absent."""

    def remove(self, keys: I64) -> int:
        """Returns how many rows were removed."""

    def clear(self) -> int:
        """Removes all rows, starts the common row anew and forgets what was dirty: a mirror must be deleted whole.

        Returns rows removed.
        """

    def size(self) -> int: ...
    def bytes(self) -> int:
        """RAM held for rows, index and the list of dirty keys."""

    def dirty_rows(self) -> int:
        """Keys waiting to be written back, removed ones and some repeats included."""

    def dirty_buckets(self) -> list[int]: ...
    def import_rows(
        self,
        keys: I64,
        values: F32,
        frequency: U32 | None = None,
        last_used: U32 | None = None,
        slots: F32 | None = None,
        *,
        now: int,
        position: int = 0,
    ) -> int:
        """Sets whole rows. None: frequency and slots stay as they are (0 and initial for new rows), last_used is now.
        Returns rows added."""

    def export_bucket(self, bucket: int, *, with_slots: bool = False) -> ExportedRows:
        """A consistent copy of one bucket."""

    def freeze(self) -> None:
        """Takes a picture of the whole table that export_frozen reads while the table goes on changing.

        No write may be under way, else a batch may be in the picture in part. From here until its bucket is exported,
        or until thaw, a row is copied when it is first changed. Pulls that renew last_used show in the picture. A
        second freeze replaces the first.
        """

    def export_frozen(self, bucket: int, *, with_slots: bool = False) -> ExportedRows:
        """The bucket's rows as they were at freeze; each bucket can be exported once.

        Raises:
            RuntimeError: there was no freeze, or the bucket was exported since.
        """

    def thaw(self) -> None:
        """Forgets the picture and the copies."""

    def restrict(self, num_reserved: int, trigger: int, *, score: Score, now: int, sample: int = 0) -> RestrictReport:
        """Keeps exactly the num_reserved best rows when there are more than `trigger`.

        Lowest score goes first, then the longest unused, then as a hash of the key decides. Rows used while it runs
        stay.
        """

    def preview_restrict(
        self, num_reserved: int, trigger: int, *, score: Score, now: int, sample: int = 0
    ) -> RestrictReport:
        """What restrict would report now; changes nothing."""

    def ranks(
        self,
        *,
        score: Score,
        now: int,
        limit: int,
        low: tuple[int, int] | None = None,
        high: tuple[int, int] | None = None,
    ) -> Ranks:
        """How many rows stand where in restrict's order, which is the same for every table.

        Args:
            low, high: (standing, lot), both included; None: no bound. With neither, a table of more than `limit` rows
                is sampled, in less than a pass.
            limit: how many ranks to list at most, roughly.
        """

    def evict_cycle(
        self,
        *,
        max_rows: int = 0,
        max_bytes: int = 0,
        low_watermark: float = 0.9,
        policy: Policy,
        now: int,
        budget_ms: float,
    ) -> CycleReport:
        """When there are more rows than a cap allows, evicts the worst down to low_watermark of the cap.

        Takes about budget_ms at most and goes on next time where it stopped. Tables of up to 65536 rows are ranked
        exactly; in larger ones the cut is estimated from a sample of that size.

        Args:
            max_rows, max_bytes: 0: no cap. Bytes are counted in row_bytes a row.
            policy: lfu: lowest frequency goes first; lru: longest unused.
        Raises:
            ValueError: low_watermark outside (0, 1], budget_ms not above 0, unknown policy.
        """

    def expire(self, *, ttl_s: float, now: int, budget_ms: float) -> CycleReport:
        """Removes rows that were last used more than ttl_s before now; goes on next time where the budget ended it."""

    @property
    def row_bytes(self) -> int:
        """RAM of one row: metadata, key, values, state and its share of the index."""
    def growth_bytes(self, rows: int) -> int:
        """RAM that so many new rows take, at worst."""
    def stats(self) -> TableStats: ...
    def set_min_count(self, min_count: int) -> None:
        """Changes admission for keys to come; rows that exist stay."""

    def take_common_row(self) -> builtins.bytes | None:
        """The packed common row if it changed since it was last taken, to be stored beside the buckets."""

    def pack_common_row(self) -> builtins.bytes:
        """The packed common row, changed or not; leaves its dirty mark."""

    def mark_common_row_dirty(self) -> None:
        """Gives the common row back to take_common_row after a failed write."""

    def load_common_row(self, packed: builtins.bytes) -> None:
        """Puts back what take_common_row gave.

        Raises:
            ValueError: wrong length, or the checksum does not match.
        """

    def describe(self, key: int) -> RowDescription | None: ...
    def initial_value(self, key: int) -> F32:
        """[dim], as a pull reads it while the key is absent."""

    def top(self, limit: int, *, score: Score, now: int) -> tuple[I64, U32, U32]:
        """Keys, frequency and last_used of the best rows, best first."""

    def pack_rows(self, keys: I64) -> tuple[I64, builtins.bytes]:
        """Those of `keys` that have rows, and their packed rows one after the other."""

    def add_packed(self, keys: I64, packed: builtins.bytes, *, position: int) -> int:
        """Adds rows as they were packed, of `keys` [N] that have none; of a repeated key the first.

        They are dirty and have seen `position`. Returns how many were added; damaged ones are left out.

        Raises:
            ValueError: `packed` is not N rows.
        """

    def keep_evicted(self, max_bytes: int) -> None:
        """Packs what is evicted from now on, up to about so many bytes a report; 0: nothing."""

    def take_dirty(self, bucket: int, max_rows: int) -> DirtyRows:
        """Takes up to max_rows changed or removed keys of the bucket and clears their mark.

        Nothing in `keys` and `removed_keys`: the bucket is clean. Should the write fail, give all keys back with
        mark_dirty.
        """

    def mark_dirty(self, bucket: int, keys: I64) -> None:
        """Marks keys to be written (or deleted, where absent) again. Keys of other buckets are left alone."""

    def take_dirty_keys(self, bucket: int) -> I64:
        """Takes all dirty marks of the bucket: the changed and removed keys, each once, in order. Packs nothing."""

    def pack_bucket(self, bucket: int) -> tuple[I64, builtins.bytes]:
        """Keys [N] and N packed rows of the whole bucket at one moment; leaves the dirty marks."""

    def load_packed(self, bucket: int, keys: I64, packed: builtins.bytes) -> LoadedFields:
        """Puts back rows as pack_bucket gave them; loaded rows are not dirty.

        Raises:
            ValueError: `packed` is not N rows long.
        """

    def load_fields(self, bucket: int, fields: dict[builtins.bytes, builtins.bytes]) -> LoadedFields:
        """Puts back rows as take_dirty packed them, by their keys' 8 little-endian bytes; loaded rows are not dirty.

        Raises:
            ValueError: a field or value is not of type bytes.
        """

    def set_hyperparameters(self, optimizer: Optimizer) -> None:
        """Replaces the optimizer's numbers.

        Raises:
            ValueError: another kind, or other slots.
        """

class FlatIndex:
    """An exact index under the dot product: an 8-bit scan with provable bounds, then a rerank of the float32 vectors.

    Immutable; any number of threads may search. `kernel` is "scalar", "avx2", "avx512", "neon" or "neon_dot"; by
    default the widest one that this CPU has. All find the same positions and scores. With `copy` False the index lies
    over `vectors` and keeps it; nobody may write to it then.

    Raises ValueError for a vector or query that is not finite or is longer than 1e18, and for a dim outside 1..4096.
    """

    def __init__(self, vectors: F32, kernel: str = "", copy: bool = True) -> None: ...
    @staticmethod
    def over(vectors: F32, codes: U8, scale: F32, error: F32, norm: F32, kernel: str = "") -> FlatIndex:
        """An index over arrays as another index has them, which it keeps: mapped files, for example.

        Raises:
            ValueError: an array has another length than the vectors ask for.
        """
    def search(
        self, queries: F32, k: int, exclude: U8 | None = None, bonus: Sequence[F32 | None] | None = None
    ) -> tuple[I64, F32]:
        """Positions [B, k] int64 and scores [B, k] float32, best first, equal scores by position.

        Args:
            queries: [B, dim] float32.
            exclude: [B, ceil(size / 8)] uint8; bit i, least significant first, takes position i out for that query;
                [1, ceil(size / 8)]: for all.
            bonus: B entries, [size] float32 or None: added to the dot products.
        Where fewer than k are eligible, the rest is position -1, score -inf. The GIL is released.

        Raises:
            ValueError: another shape, or a query or bonus that is not finite or beyond 1e18.
        """
    @property
    def vectors(self) -> F32:
        """[size, dim] float32: the index's own memory, read-only."""
    @property
    def codes(self) -> U8:
        """The 8-bit codes in blocks of 16 items, read-only; flat_scan.h says how they lie."""
    @property
    def scale(self) -> F32:
        """Per item, padded to whole blocks: of its codes; read-only, as the next two."""
    @property
    def error(self) -> F32: ...
    @property
    def norm(self) -> F32: ...
    @property
    def size(self) -> int: ...
    @property
    def dim(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def kernel(self) -> str: ...

def search_vectors(
    vectors: F32, queries: F32, k: int, exclude: U8 | None = None, bonus: Sequence[F32 | None] | None = None
) -> tuple[I64, F32]:
    """The exact answer from [size, dim] vectors without an index: what indexes are compared with, and slow.

    Arguments, answer and errors are those of FlatIndex.search.
    """

def make_lists(vectors: F32, lists: int, seed: int, threads: int = 1) -> tuple[F32, F32, F32, U32, U32]:
    """Sorts vectors [size, dim] into lists around centroids; deterministic, and the GIL is released.

    Returns:
        centroids [L, dim]; radii [L] and spreads [L], the largest and the root mean square distance from them, the
        latter per dimension; starts [L + 1], of blocks of 16 slots; positions [slots], 2^32 - 1 in empty slots. L is at
        most `lists`: empty ones are left out.

    Raises:
        ValueError: lists outside 1..size, or a vector that FlatIndex refuses.
    """

def encode_slots(vectors: F32, positions: U32) -> tuple[U8, F32, F32, F32]:
    """Codes, scale, error and norm, as FlatIndex has them, of the vectors in slots.

    Raises:
        ValueError: a position beyond the vectors, or a vector that FlatIndex refuses.
    """

class InvertedIndex:
    """Lists of vectors, as make_lists makes them, of which a search reads the promising ones.

    It lies over the arrays and keeps them; nobody may write to them. Immutable; any number of threads may search.

    Raises ValueError where an array has another length than the others ask for, where `starts` falls, and where
    `centroids`, `radii` or `spreads` are not finite.
    """

    def __init__(
        self,
        vectors: F32,
        centroids: F32,
        radii: F32,
        spreads: F32,
        starts: U32,
        positions: U32,
        codes: U8,
        scale: F32,
        error: F32,
        norm: F32,
        kernel: str = "",
    ) -> None: ...
    def search(
        self,
        queries: F32,
        k: int,
        lists: int,
        rows: int,
        exclude: U8 | None = None,
        bonus: Sequence[F32 | None] | None = None,
    ) -> tuple[I64, F32]:
        """As FlatIndex.search, from at least `lists` lists and `rows` eligible vectors; all lists: exact."""
    @property
    def size(self) -> int: ...
    @property
    def dim(self) -> int: ...
    @property
    def lists(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def kernel(self) -> str: ...

COLD_SLOTS: int
COLD_WAITING: int

class ColdRows:
    """Which evicted rows of a table its cold store has, and what is still to be written there. Thread-safe.

    A cold row is in a slot of the store, has `COLD_SLOTS` for a slot that nobody knows, or waits in RAM. Its stamp says
    which eviction it comes from; 0: nobody knows. Until all that the store has was listed, a key that is not known here
    may be cold.
    """

    def __init__(self, row_bytes: int, max_waiting_bytes: int) -> None: ...
    def evicted(self, keys: I64, packed: bytes, stamp: int) -> int:
        """These rows wait from now on; returns how many, as the room for them is bounded."""
    def evicted_elsewhere(self, keys: I64, stamp: int) -> None:
        """Another process evicted these rows, and may have written them."""
    def forget(self, keys: I64) -> int:
        """These keys have rows, or are to have none: returns how many of them were known to be cold."""
    def clear(self, listed: bool) -> int:
        """Nothing is cold: returns how many rows were. `listed`: nor will the store have anything, once it is empty."""
    def find(self, keys: I64) -> tuple[I64, U64, U8]:
        """Those of `keys` that are or may be cold, each once: places in `keys`, stamps, slots or COLD_WAITING."""
    def hold(self, keys: I64, stamps: U64) -> U8:
        """1 for each key [N] that is cold with that stamp, else 0."""
    def waiting_row(self, key: int) -> bytes:
        """The packed row of a key that waits; empty: it does not."""
    def confirm(self, key: int, stamp: int, slot: int) -> bool:
        """The store has that key with this stamp in this slot. False: that is not to be believed."""
    def lost(self, keys: I64, stamps: U64) -> int:
        """The store has not got these keys, which were found with these stamps: returns how many of them were cold."""
    @property
    def listing(self) -> int:
        """Which listing is under way: one that began before a `clear` is not taken any more."""
    @property
    def listed(self) -> bool: ...
    def list(self, keys: I64, slot: int, listing: int) -> None:
        """The store has these keys, of which none has a row, in that slot."""
    def list_stale(self, keys: I64, slot: int) -> None:
        """The same of keys that have rows: these copies are to be deleted."""

    def finish_listing(self, listing: int) -> None: ...
    def take_deletes(self) -> tuple[I64, U8]:
        """Keys that the store is not to have any more, and in which slots, COLD_SLOTS for all."""
    def waiting(self, limit: int) -> tuple[I64, U64, bytes]:
        """Up to `limit` waiting rows, which go on waiting: keys, stamps, and of each stamp and packed row."""
    def correct(self, keys: I64, stamps: U64, packed: bytes) -> None:
        """What waits with these stamps was in the store already, with these packed rows."""

    def written(self, keys: I64, stamps: U64, slot: int) -> None:
        """Those of them that still wait are in that slot."""
    def drop_slot(self, slot: int) -> int:
        """The slot is empty: returns how many rows were in it."""
    def put_aside(self) -> None:
        """What another process's write-back, which begins, will have done needs no doing, if it ends."""
    def settle(self) -> None:
        """A write-back has ended."""
    def unsettle(self) -> None:
        """What was deleted, or put aside, since the last write-back that ended has to be done again."""
    def counts(self) -> tuple[builtins.list[int], int, int]:
        """Rows in each slot, last in one that nobody knows; rows that wait; bytes of RAM beside those."""
