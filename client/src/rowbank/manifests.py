"""What a model version is made of: its towers, tables, transforms and facts. Public by way of `rowbank.models`."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from rowbank_protos.v1 import models_pb2

ROWS_MODES = ("frozen", "live")
_MODES = {
    "frozen": models_pb2.ROWS_MODE_FROZEN,
    "live": models_pb2.ROWS_MODE_LIVE,
    "": models_pb2.ROWS_MODE_UNSPECIFIED,
}
_MODE_NAMES = {number: name for name, number in _MODES.items()}
INPUT_KINDS = ("keys", "text_keys", "words", "numbers")
_KINDS = {
    "keys": models_pb2.INPUT_KIND_KEYS,
    "text_keys": models_pb2.INPUT_KIND_TEXT_KEYS,
    "words": models_pb2.INPUT_KIND_WORDS,
    "numbers": models_pb2.INPUT_KIND_NUMBERS,
    "": models_pb2.INPUT_KIND_UNSPECIFIED,
}
_KIND_NAMES = {number: name for name, number in _KINDS.items()}
ID_TYPES = ("int64", "string")
_ID_TYPES = {"int64": models_pb2.ID_TYPE_INT64, "string": models_pb2.ID_TYPE_STRING}
_ID_TYPE_NAMES = {number: name for name, number in _ID_TYPES.items()}


@dataclass(frozen=True, slots=True)
class QuotientKey:
    """`2 * (key // divisor)`: the first row of `rowbank.keras.QREmbedding`."""

    divisor: int


@dataclass(frozen=True, slots=True)
class RemainderKey:
    """`2 * (key % divisor) + 1`: the second row of `rowbank.keras.QREmbedding`."""

    divisor: int


@dataclass(frozen=True, slots=True)
class BucketKey:
    """One lookup of `rowbank.keras.UnifiedEmbedding`.

    The key is `first` plus SipHash-2-4 of the value's text (an integer's decimal digits) under `salt`, modulo
    `buckets`.
    """

    salt: tuple[int, int]
    buckets: int
    first: int = 0


KeyRule = QuotientKey | RemainderKey | BucketKey


@dataclass(frozen=True, slots=True)
class TowerInput:
    """One input of a tower: rows of a table for the keys in a feature, or the numbers in a feature.

    Attributes:
        name: input of the ONNX graph, float32: [batch, dim], or [batch, length, dim] if `length` is above 0.
        table: "" with kind "numbers".
        feature: "<view>:<feature>", or the entity's join key for its own id.
        length: keys per entity, padded with `pad_key` and cut; 0: one key, or none.
        pad_key: an integer that stands for none: in a feature, before the rule, it reads zeros, whatever the table
            holds under it. Choose one that is no value. An entity's own id is never taken for it.
        kind: what the feature is: "keys" (an integer, or a list of them), "text_keys" (a text, or a list of them, each
            of which has its key, an empty one none), "words" (a text, of which the first `length` words have keys) or
            "numbers" (a number, a truth value or a list of `dim` numbers); "" where a version of before this was told
            does not say it: as "keys", but padding, too, reads what the table holds.
        newest: of a list longer than `length` the last ones count, not the first.
        rule: which keys the feature's keys become; None: they stay as they are.
    """

    name: str
    table: str
    feature: str
    dim: int
    length: int = 0
    pad_key: int = 0
    kind: str = "keys"
    newest: bool = False
    rule: KeyRule | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("", *INPUT_KINDS):
            raise ValueError(f"kind: expected one of {', '.join(INPUT_KINDS)}, got {self.kind!r}")


@dataclass(frozen=True, slots=True)
class Tower:
    """An ONNX graph that turns rows into vectors: `output` is [batch, vector_dim] float32, in the file `file`."""

    inputs: tuple[TowerInput, ...]
    output: str
    file: str


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of a model; `sha256` is hexadecimal."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class VersionTable:
    """A table that a version reads, as it was when the version was published.

    Attributes:
        name: as the towers' inputs name it.
        source: the table that was trained; the same as `name` if rows are live.
        table_id: of `name`: it says whether the table was dropped and made anew since.
        step: of the source.
        rows, bytes: of `name`, over all shards; bytes of RAM.
        lineage: how often `name` had been cleared or imported into.
        trained_by: the run that had trained `name` last, if it said so.
    """

    name: str
    source: str
    table_id: int = 0
    step: int = 0
    rows: int = 0
    bytes: int = 0
    lineage: int = 0
    trained_by: str = ""


@dataclass(frozen=True, slots=True)
class TitleTokens:
    """Keys of the first `max_tokens` words of a text: `rowbank.text.title_keys`."""

    max_tokens: int


@dataclass(frozen=True, slots=True)
class HashText:
    """The key of a text as a whole: `rowbank.hashing`."""


@dataclass(frozen=True, slots=True)
class Transform:
    """Makes one feature of an item, `output`, from another, `input`, in serving as in training."""

    input: str
    output: str
    kind: TitleTokens | HashText


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What a version was trained on.

    Attributes:
        read_at_s: Unix seconds at which the data was read: what callers wrote later is newer.
    """

    name: str
    users: int
    items: int
    interactions: int
    read_at_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SampleQuery:
    """What the publisher's own model answers to a stored user.

    Attributes:
        user: the key of the user.
        items: keys of the items that it scores highest, best first, of the whole catalogue.
        scores: of the items: logit_scale x dot product.
    """

    user: int
    items: tuple[int, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """What a model version is made of.

    Attributes:
        version: unique for the model, sorting by time, such as 20260131T120000Z-1a2b.
        metrics: name -> value, as the trainer measured them.
        created_at_s: Unix seconds.
        item_view: the feature view that lists the candidates.
        user_view: the feature view of users; "history" in it holds seen item ids, if present.
        logit_scale: score = logit_scale x dot product.
        files, rows, tables: filled in by `Models.publish`; `rows` is "frozen", "live", or "" where a version of before
            this was told does not say it.
        transforms: how serving makes features of items from others.
        item_overlay, user_overlay: views of what callers wrote, read over `item_view` and `user_view`, which are then
            this version's own and never written again; "": callers write the view itself, which others may share.
        data: what it was trained on, for comparisons.
        quality_metric: the one of `metrics` by which versions are compared, higher is better; "": none.
        run: the training run that it comes from.
        user_ids, item_ids: what ids are for callers: "int64", or "string": keys are then `rowbank.text.token_key` of
            the texts.
        samples: what the publisher's own model answers to some users: an activation compares what would be served.
    """

    name: str
    version: str
    query: Tower
    candidate: Tower
    vector_dim: int
    created_at_s: float
    item_view: str
    user_view: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    logit_scale: float = 1.0
    files: tuple[ModelFile, ...] = ()
    rows: str = ""
    tables: tuple[VersionTable, ...] = ()
    transforms: tuple[Transform, ...] = ()
    item_overlay: str = ""
    user_overlay: str = ""
    data: DataFacts | None = None
    quality_metric: str = ""
    run: str = ""
    user_ids: str = "int64"
    item_ids: str = "int64"
    samples: tuple[SampleQuery, ...] = ()

    @property
    def table_names(self) -> tuple[str, ...]:
        """The tables that the towers' inputs name, each once."""
        inputs = (*self.query.inputs, *self.candidate.inputs)
        return tuple(dict.fromkeys(tower_input.table for tower_input in inputs if tower_input.table))

    def renamed(self, names: Mapping[str, str]) -> ModelManifest:
        """The same with other tables: old name -> new name."""

        def tower(old: Tower) -> Tower:
            inputs = (dataclasses.replace(part, table=names.get(part.table, part.table)) for part in old.inputs)
            return dataclasses.replace(old, inputs=tuple(inputs))

        return dataclasses.replace(self, query=tower(self.query), candidate=tower(self.candidate))


def manifest_to_proto(manifest: ModelManifest, contents: Mapping[str, bytes]) -> models_pb2.ModelManifest:
    """The message for `manifest`, with its files' sizes and checksums."""
    files = [
        models_pb2.ModelFile(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in contents.items()
    ]
    return models_pb2.ModelManifest(
        name=manifest.name,
        version=manifest.version,
        query=_tower_to_proto(manifest.query),
        candidate=_tower_to_proto(manifest.candidate),
        vector_dim=manifest.vector_dim,
        files=files,
        metrics=dict(manifest.metrics),
        created_at_s=manifest.created_at_s,
        item_view=manifest.item_view,
        user_view=manifest.user_view,
        logit_scale=manifest.logit_scale,
        rows=_MODES[manifest.rows],
        tables=[models_pb2.VersionTable(**dataclasses.asdict(table)) for table in manifest.tables],
        transforms=[transform_to_proto(transform) for transform in manifest.transforms],
        item_overlay=manifest.item_overlay,
        user_overlay=manifest.user_overlay,
        data=None if manifest.data is None else models_pb2.DataFacts(**dataclasses.asdict(manifest.data)),
        quality_metric=manifest.quality_metric,
        run=manifest.run,
        user_ids=_ID_TYPES[manifest.user_ids],
        item_ids=_ID_TYPES[manifest.item_ids],
        samples=[models_pb2.SampleQuery(user=one.user, items=one.items, scores=one.scores) for one in manifest.samples],
    )


def manifest_from_proto(message: models_pb2.ModelManifest) -> ModelManifest:
    """The manifest in `message`."""
    facts = message.data
    return ModelManifest(
        name=message.name,
        version=message.version,
        query=tower_from_proto(message.query),
        candidate=tower_from_proto(message.candidate),
        vector_dim=message.vector_dim,
        created_at_s=message.created_at_s,
        item_view=message.item_view,
        user_view=message.user_view,
        metrics=dict(message.metrics),
        logit_scale=message.logit_scale or 1.0,
        files=tuple(ModelFile(file.name, file.size, file.sha256) for file in message.files),
        rows=_MODE_NAMES.get(message.rows, ""),
        tables=tuple(
            VersionTable(
                table.name, table.source, table.table_id, table.step, table.rows, table.bytes, table.lineage,
                table.trained_by,
            )
            for table in message.tables
        ),
        transforms=tuple(_transform_from_proto(transform) for transform in message.transforms),
        item_overlay=message.item_overlay,
        user_overlay=message.user_overlay,
        data=DataFacts(facts.name, facts.users, facts.items, facts.interactions, facts.read_at_s)
        if message.HasField("data")
        else None,
        quality_metric=message.quality_metric,
        run=message.run,
        user_ids=_ID_TYPE_NAMES.get(message.user_ids, "int64"),
        item_ids=_ID_TYPE_NAMES.get(message.item_ids, "int64"),
        samples=tuple(SampleQuery(one.user, tuple(one.items), tuple(one.scores)) for one in message.samples),
    )  # fmt: skip


def _tower_to_proto(tower: Tower) -> models_pb2.Tower:
    return models_pb2.Tower(
        inputs=[_input_to_proto(part) for part in tower.inputs], output=tower.output, file=tower.file
    )


def _input_to_proto(part: TowerInput) -> models_pb2.TowerInput:
    return models_pb2.TowerInput(
        name=part.name,
        table=part.table,
        feature=part.feature,
        dim=part.dim,
        length=part.length,
        pad_key=part.pad_key,
        kind=_KINDS[part.kind],
        newest=part.newest,
        rule=_rule_to_proto(part.rule),
    )


def _rule_to_proto(rule: KeyRule | None) -> models_pb2.KeyRule | None:
    if rule is None:
        return None
    if isinstance(rule, QuotientKey):
        return models_pb2.KeyRule(quotient=rule.divisor)
    if isinstance(rule, RemainderKey):
        return models_pb2.KeyRule(remainder=rule.divisor)
    salt_0, salt_1 = rule.salt
    return models_pb2.KeyRule(
        bucket=models_pb2.KeyRule.Bucket(salt_0=salt_0, salt_1=salt_1, buckets=rule.buckets, first=rule.first)
    )


def tower_from_proto(message: models_pb2.Tower) -> Tower:
    """The tower in `message`."""
    return Tower(tuple(_input_from_proto(part) for part in message.inputs), message.output, message.file)


def _input_from_proto(message: models_pb2.TowerInput) -> TowerInput:
    return TowerInput(
        message.name, message.table, message.feature, message.dim, message.length, message.pad_key,
        _KIND_NAMES.get(message.kind, ""), message.newest,
        _rule_from_proto(message.rule) if message.HasField("rule") else None,
    )  # fmt: skip


def _rule_from_proto(message: models_pb2.KeyRule) -> KeyRule | None:
    kind = message.WhichOneof("rule")
    if kind == "quotient":
        return QuotientKey(message.quotient)
    if kind == "remainder":
        return RemainderKey(message.remainder)
    if kind == "bucket":
        bucket = message.bucket
        return BucketKey((bucket.salt_0, bucket.salt_1), bucket.buckets, bucket.first)
    return None


def transform_to_proto(transform: Transform) -> models_pb2.Transform:
    """The message for `transform`."""
    message = models_pb2.Transform(input=transform.input, output=transform.output)
    if isinstance(transform.kind, TitleTokens):
        message.title_tokens.max_tokens = transform.kind.max_tokens
    else:
        message.hash_text.SetInParent()
    return message


def _transform_from_proto(message: models_pb2.Transform) -> Transform:
    kind = TitleTokens(message.title_tokens.max_tokens) if message.WhichOneof("kind") == "title_tokens" else HashText()
    return Transform(message.input, message.output, kind)
