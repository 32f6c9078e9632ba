"""Which loss a model is trained with. Importing this must stay cheap: it happens before TensorFlow is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from rowbank_trainer.errors import UsageError

_EXPECTED = "expected softmax (items of the batch), sampled:N (N drawn items), mixed:N (both), bpr, ccl:N or directau"
_COUNTED = ("sampled", "mixed", "ccl")
_PLAIN = ("softmax", "bpr", "directau")
CORRECTED = ("softmax", "mixed")  # Losses in which an item's chance of being a candidate is taken off its logit.
DRAWING = ("sampled", "mixed", "bpr", "ccl")  # Losses with items that are drawn from the catalogue.
SOFTMAXES = ("softmax", "sampled", "mixed")


@dataclass(frozen=True, slots=True)
class Objective:
    """A loss.

    Attributes:
        name: "softmax", "sampled", "mixed", "bpr", "ccl" or "directau".
        drawn: items drawn from the catalogue for each batch, as wrong answers for all of its users; 0 for those that
            need none, and for "bpr", which draws one for each pair.
    """

    name: str
    drawn: int = 0

    @classmethod
    def parse(cls, text: str) -> Objective:
        """Reads "softmax" or "mixed:1024". Raises UsageError."""
        name, _, count = text.partition(":")
        if text in _PLAIN:
            return cls(text)
        if name in _COUNTED and count.isascii() and count.isdigit() and int(count) > 0:
            return cls(name, int(count))
        raise UsageError(f"--loss: {_EXPECTED}; got {text!r}")

    def negatives(self, batch_size: int) -> int:
        """Items to draw for a batch."""
        return batch_size if self.name == "bpr" else self.drawn
