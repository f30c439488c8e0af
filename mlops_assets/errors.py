"""The errors a person can cause and mend, as sentences.

What belongs here: one base class that carries its sentences, and one subclass per kind of trouble that a caller treats
differently. What does not: errors that are bugs of ours; those stay ordinary exceptions with their traceback.
"""


class UserError(Exception):
    """Something a person can mend; ``sentences`` says what is wrong, where, and what to do, one problem each."""

    def __init__(self, *sentences: str) -> None:
        super().__init__("\n".join(sentences))
        self.sentences: tuple[str, ...] = sentences


class ContractError(UserError):
    """A dataset folder says something that cannot be; every sentence starts with ``file:line``."""


class DeliveryError(UserError):
    """A delivered file cannot be read as its source's contract says."""


class StoreError(UserError):
    """The store cannot do what was asked."""


class NotStoredError(StoreError):
    """What was asked for is not in the store."""


class PurgedError(NotStoredError):
    """What was asked for was erased because somebody had a right to that."""


class CorruptError(StoreError):
    """Bytes in the store are not those that were written."""


class ConflictError(StoreError):
    """A head has moved since it was read; the late writer must look again."""


class RefusedError(UserError):
    """A blocking check failed, or what a stage stands on was never accepted."""
