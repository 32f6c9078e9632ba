"""What a process needs to ask callers for tokens, made from its settings."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from rowbank_server.security.admin_file import AdminFile
from rowbank_server.security.audit import Audit
from rowbank_server.security.failures import Failures
from rowbank_server.security.gate import Gate
from rowbank_server.security.token_book import TokenBook
from rowbank_server.security.token_store import TokenStore
from rowbank_server.settings.security import SecuritySettings
from rowbank_server.storage.connection import Redis
from rowbank_server.storage.layout import Layout


@dataclass(frozen=True, slots=True)
class Security:
    """Looks at Redis inside of a `with`.

    Attributes:
        book: the tokens.
        gate: asks callers for one; None: anybody may do anything.
    """

    book: TokenBook
    gate: Gate | None

    @classmethod
    def of(cls, settings: SecuritySettings, redis: Redis, namespace: str, registry: CollectorRegistry) -> Security:
        """Raises StartError: a file that the settings name is not what it should be."""
        store = TokenStore(redis, Layout(namespace))
        if not settings.require_tokens:
            return cls(TokenBook(store), None)
        admin_file = AdminFile(settings.admin_token_file) if settings.admin_token_file else None
        book = TokenBook(store, admin_file)
        return cls(book, Gate(book, Failures(registry), Audit(settings.audit_file)))

    def __enter__(self) -> None:
        """Begins to look at Redis."""
        if self.gate is not None:
            self.book.start()

    def __exit__(self, *_: object) -> None:
        """Ends that."""
        self.book.stop()
        if self.gate is not None:
            self.gate.audit.close()
