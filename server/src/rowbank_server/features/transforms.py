"""Features that serving makes of others, with the very code that training used."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rowbank.errors import InvalidFeature
from rowbank.text import PAD_KEY, title_keys, token_key
from rowbank_protos.v1 import models_pb2
from rowbank_server.features.values import FeatureData, FeatureType
from rowbank_server.features.views import FeatureView


@dataclass(frozen=True, slots=True)
class Derived:
    """`output` is what `make` makes of the text `input`."""

    input: str
    output: str
    type: FeatureType
    make: Callable[[str], FeatureData]

    def check(self, view: FeatureView) -> None:
        """Refuses a view whose features are not what the transform takes and gives.

        Raises:
            InvalidFeature: which feature, and what it should be.
        """
        for name, kind in ((self.input, FeatureType.STRING), (self.output, self.type)):
            got = view.field(name).type
            if got is not kind:
                raise InvalidFeature(
                    f"view {view.name!r}: the transform of {self.input!r} to {self.output!r} needs {name!r} to be "
                    f"{kind.value}, got {got.value}"
                )


def from_manifest(transforms: Iterable[models_pb2.Transform]) -> tuple[Derived, ...]:
    """The transforms of a model version.

    Raises:
        InvalidFeature: a kind that this server does not know.
    """
    return tuple(_derived(transform) for transform in transforms)


def _derived(transform: models_pb2.Transform) -> Derived:
    kind = transform.WhichOneof("kind")
    if kind == "title_tokens":
        count = transform.title_tokens.max_tokens
        if count < 1:
            raise InvalidFeature(f"transform of {transform.input!r}: max_tokens: expected at least 1, got {count}")
        return Derived(transform.input, transform.output, FeatureType.INT64_LIST, lambda text: _tokens(text, count))
    if kind == "hash_text":
        return Derived(transform.input, transform.output, FeatureType.INT64, token_key)
    raise InvalidFeature(
        f"transform of {transform.input!r} to {transform.output!r}: expected title_tokens or hash_text, got none that "
        "this server knows; serve the model with the release that published it"
    )


def _tokens(text: str, count: int) -> list[int]:
    return [int(key) for key in title_keys([text], count)[0] if key != PAD_KEY]
