"""Settings of a two-tower job. Importing this must stay cheap: it happens before TensorFlow is loaded."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from rowbank_trainer.data.splits import SplitRule
from rowbank_trainer.errors import UsageError, option
from rowbank_trainer.two_tower.objective import CORRECTED, DRAWING, SOFTMAXES, Objective
from rowbank_trainer.two_tower.schedule import Schedule

SIMILARITIES = ("cosine", "dot")
ACTIVATIONS = ("gelu", "relu", "tanh", "sigmoid", "linear")
LOGQ_SOURCES = ("counts", "table", "none")
OPTION_OF = {"schedule": "learning_rate_schedule"}  # Settings whose options are called otherwise.
LOGQ_POSITIVES = ("corrected", "uncorrected")


class Variant(enum.Enum):
    """Where a model's embedding rows live."""

    STATIC = "static"
    TFRA_LOCAL = "tfra-local"
    ROWBANK_TFRA = "rowbank-tfra"
    ROWBANK = "rowbank"

    @property
    def remote(self) -> bool:
        """Whether rows live on a parameter server."""
        return self in (Variant.ROWBANK_TFRA, Variant.ROWBANK)

    @property
    def dynamic(self) -> bool:
        """Whether tables grow and shrink."""
        return self is not Variant.STATIC

    @property
    def resumable(self) -> bool:
        """Whether a checkpoint can hold the rows."""
        return self in (Variant.STATIC, Variant.ROWBANK)

    @classmethod
    def parse_list(cls, text: str) -> tuple[Variant, ...]:
        """Reads a comma list, in order.

        Raises:
            TrainerError: an unknown or a repeated name, or none at all.
        """
        known = ", ".join(variant.value for variant in cls)
        found: list[Variant] = []
        for name in (part.strip() for part in text.split(",")):
            try:
                variant = cls(name)
            except ValueError:
                raise UsageError(f"--tables: unknown kind {name!r}; expected a comma list of {known}") from None
            if variant in found:
                raise UsageError(f"--tables: {name!r} is listed twice")
            found.append(variant)
        return tuple(found)


@dataclass(frozen=True, slots=True)
class TwoTowerConfig:
    """What a run depends on. The defaults were chosen on a validation part of the training interactions.

    Attributes:
        epochs: passes over the training interactions.
        batch_size: interactions a step; also the number of candidates each user is contrasted with.
        dim: of an embedding row.
        vector_dim: of what the towers put out.
        hidden: widths of the towers' inner layers; may be none.
        activation: of inner layers: "gelu", "relu", "tanh", "sigmoid" or "linear".
        output_layer: whether a linear layer comes last. Without it and without inner layers a vector is its row.
        learning_rate: of Adam, for rows and towers.
        schedule: how the learning rate goes on: "constant", "cosine" or "cosine:FLOOR"; see `Schedule`.
        loss: what is trained for; see `Objective`.
        temperature: similarities are divided by it in the loss.
        similarity: "cosine", or "dot": vectors keep their lengths.
        logq: where the probabilities come from that correct for popular items being in most batches: "counts" of the
            training interactions, the server's item "table", or "none": no correction.
        logq_positive: whether the right item's logit is "corrected", too, or, as of an item that is there whatever its
            probability, "uncorrected".
        negative_power: items that a loss draws as wrong answers are drawn in proportion to their probability, from
            where `logq` says, to this power: 0 is evenly, 1 as often as they are met.
        hard_negatives: so many wrong answers with the highest logits of each user count in a softmax; 0: all do.
        logq_refresh: steps between two readings of the table's frequencies; they are doubled up to it at the start.
        remove_accidental_hits: whether further copies of the right item in a batch do not count as wrong ones.
        row_dropout, hidden_dropout: fractions of a row's, an inner layer's outputs left out in training.
        initial_range: initial rows are uniform in [-initial_range, initial_range).
        max_tokens: words of a title that count.
        history: how many of a user's last training items the user tower takes beside the user's own row; 0: none.
        history_weight: of their mean, against the own row's weight of 1 - history_weight.
        related: how many of the items that an item's users met the item tower takes beside its own row; 0: none.
        related_weight: of their mean, against the own row's weight of 1 - related_weight.
        split: what is held out for the reported accuracy: "random:0.2", "time:0.2" or "leave-last:1".
        popularity_weight: of the logarithm of 1 + an item's training interactions, added to its similarities where a
            model is judged and served; 0: nothing is.
        popularity_half_life_days: an interaction counts half of one that is so much newer; 0: all count alike.
        validation_fraction: of the remaining ones, held out instead when `evaluate_on` is "validation".
        evaluate_on: "test" for figures to report, "validation" for choosing settings.
        early_stopping: epochs without a better recall@20 on a validation part after which training ends; 0: never.
        seed: of split, initial values, order and dropout.
        log_every: steps between two readings of the table sizes.
        restrict_every: steps between two restrictions.
        restrict_keep: fraction of the vocabulary that a restriction keeps.
        restrict_trigger: fraction of the vocabulary above which a table is restricted.
    """

    epochs: int = 20
    batch_size: int = 2048
    dim: int = 64
    vector_dim: int = 64
    hidden: tuple[int, ...] = (128,)
    activation: str = "gelu"
    output_layer: bool = True
    learning_rate: float = 0.003
    schedule: str = "constant"
    loss: str = "softmax"
    temperature: float = 0.2
    similarity: str = "cosine"
    logq: str = "counts"
    logq_positive: str = "corrected"
    negative_power: float = 0.0
    hard_negatives: int = 0
    logq_refresh: int = 50
    remove_accidental_hits: bool = True
    row_dropout: float = 0.3
    hidden_dropout: float = 0.0
    initial_range: float = 0.05
    max_tokens: int = 6
    history: int = 0
    history_weight: float = 0.5
    related: int = 0
    related_weight: float = 0.7
    popularity_weight: float = 0.0
    popularity_half_life_days: float = 0.0
    split: str = "random:0.2"
    validation_fraction: float = 0.15
    evaluate_on: str = "test"
    early_stopping: int = 0
    seed: int = 1
    log_every: int = 10
    restrict_every: int = 50
    restrict_keep: float = 0.8
    restrict_trigger: float = 0.95

    @property
    def served_dim(self) -> int:
        """Of the vectors that a model is judged and served by."""
        return self.vector_dim + (1 if self.popularity_weight else 0)

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "dim", "vector_dim", "max_tokens", "log_every", "restrict_every",
                     "logq_refresh"):  # fmt: skip
            if getattr(self, name) < 1:
                raise UsageError(f"{option(name)} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "temperature", "initial_range"):
            if not getattr(self, name) > 0.0:
                raise UsageError(f"{option(name)} must be above 0, got {getattr(self, name)}")
        for name in ("row_dropout", "hidden_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise UsageError(f"{option(name)} must be in [0, 1), got {getattr(self, name)}")
        if any(width < 1 for width in self.hidden):
            raise UsageError(f"--hidden: widths must be at least 1, got {self.hidden}")
        if not self.output_layer and self.hidden and self.vector_dim != self.hidden[-1]:
            raise UsageError(
                f"without an output layer vectors have the last width, {self.hidden[-1]}, got --vector-dim "
                f"{self.vector_dim}"
            )
        Schedule.parse(self.schedule)
        if Objective.parse(self.loss).name in ("ccl", "directau") and self.similarity != "cosine":
            raise UsageError(f"--loss {self.loss} is for --similarity cosine, got {self.similarity}")
        self._check_correction()
        self._check_negatives()
        if self.early_stopping < 0:
            raise UsageError(f"--early-stopping must be at least 0, got {self.early_stopping}")
        self._check_history()
        if not 0.0 < self.validation_fraction < 1.0:
            raise UsageError(f"validation_fraction must be in (0, 1), got {self.validation_fraction}")
        SplitRule.parse(self.split)
        known_words = (
            ("similarity", SIMILARITIES), ("logq", LOGQ_SOURCES), ("logq_positive", LOGQ_POSITIVES),
            ("activation", ACTIVATIONS),
        )  # fmt: skip
        for name, known in known_words:
            if getattr(self, name) not in known:
                raise UsageError(f"{option(name)} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        if not 0.0 < self.restrict_keep <= self.restrict_trigger <= 1.0:
            raise UsageError(
                "expected 0 < restrict_keep <= restrict_trigger <= 1, "
                f"got {self.restrict_keep} and {self.restrict_trigger}"
            )
        if self.evaluate_on not in ("test", "validation"):
            raise UsageError(f"--evaluate-on must be 'test' or 'validation', got {self.evaluate_on!r}")
        if self.batch_size < 2:
            raise UsageError("--batch-size must be at least 2: a user is contrasted with the rest of its batch")

    def _check_correction(self) -> None:
        if self.logq_positive == "uncorrected" and (
            self.logq == "none" or Objective.parse(self.loss).name not in CORRECTED
        ):
            raise UsageError(
                f"--logq-positive uncorrected is for losses with a correction, --loss {' or '.join(CORRECTED)} with "
                f"--logq counts or table; got --loss {self.loss} --logq {self.logq}"
            )

    def _check_negatives(self) -> None:
        name = Objective.parse(self.loss).name
        if not 0.0 <= self.negative_power <= 1.0:
            raise UsageError(f"--negative-power must be from 0 to 1, got {self.negative_power}")
        if self.negative_power and name not in DRAWING:
            raise UsageError(
                f"--negative-power is for losses that draw items, {', '.join(DRAWING)}; got --loss {self.loss}"
            )
        if self.hard_negatives < 0:
            raise UsageError(f"--hard-negatives must be at least 0, got {self.hard_negatives}")
        if self.hard_negatives and name not in SOFTMAXES:
            raise UsageError(f"--hard-negatives is for --loss {', '.join(SOFTMAXES)}; got --loss {self.loss}")

    def _check_history(self) -> None:
        for name in ("history", "related"):
            if getattr(self, name) < 0:
                raise UsageError(f"--{name} must be at least 0, got {getattr(self, name)}")
            weight = getattr(self, f"{name}_weight")
            if not 0.0 < weight < 1.0:
                raise UsageError(f"--{name}-weight must be above 0 and below 1, got {weight}")
            if getattr(self, name) and self.logq == "table":
                what = "the items of histories" if name == "history" else "related items"
                raise UsageError(
                    f"--{name}: {what} are counted in the item table, too, so its frequencies are not the items' "
                    "probabilities; use --logq counts"
                )
        for name in ("popularity_weight", "popularity_half_life_days"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"{option(name)} must be at least 0, got {getattr(self, name)}")


def parse_widths(text: str) -> tuple[int, ...]:
    """Reads "128,64", or "none".

    Raises:
        UsageError: it is neither.
    """
    if text.strip() == "none":
        return ()
    try:
        widths = tuple(int(part) for part in text.split(","))
    except ValueError:
        widths = ()
    if not widths or min(widths) < 1:
        raise UsageError(f"--hidden: expected widths such as 128 or 128,64, or none, got {text!r}")
    return widths


def parse_seeds(text: str) -> tuple[int, ...]:
    """Reads "1,2,3".

    Raises:
        UsageError: it is no list of different whole numbers.
    """
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError:
        seeds = ()
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise UsageError(f"--seeds: expected different whole numbers from 0 such as 1,2,3, got {text!r}")
    return seeds
