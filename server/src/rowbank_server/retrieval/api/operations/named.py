"""The entity that a call names."""

from __future__ import annotations

from dataclasses import dataclass

from rowbank_server import wording
from rowbank_server.retrieval.api.ids import GivenId, Ids, shown_id
from rowbank_server.retrieval.api.service import Caller


@dataclass(frozen=True, slots=True)
class Named:
    """An entity by its id.

    Attributes:
        key: of its features.
        text: its id, where ids are texts; otherwise empty.
        as_strings: whether the answer is to have all ids as strings.
    """

    key: int
    text: str
    as_strings: bool

    @classmethod
    def of(cls, given: GivenId, ids: Ids, caller: Caller) -> Named:
        """What a caller wrote. Raises InvalidRequest: it is no id of that kind."""
        key = ids.key(given, "id")
        return cls(key, str(given) if ids.are_texts else "", caller.as_strings)

    def __str__(self) -> str:
        return wording.show(self.text) if self.text else str(self.key)

    @property
    def texts(self) -> dict[int, str]:
        """What `claim` takes."""
        return {self.key: self.text} if self.text else {}

    @property
    def shown(self) -> GivenId:
        """As the answer has it."""
        return shown_id(self.key, self.text, as_strings=self.as_strings)
