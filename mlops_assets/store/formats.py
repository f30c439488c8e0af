"""What readers of the store's records share: the rule of formats, and what to do about a record that is damaged.

What belongs here: the two sentences. What does not: any record; each knows the number of its own format, which is
raised when a reader of the old number would misread it.
"""

from mlops_assets.errors import StoreError

FROM_ANOTHER = "copy it from another copy of the store"


def check_format(number: int, known: int, where: str) -> None:
    """Raise ``StoreError`` for a record of a format beyond the ``known`` one; ``where`` names the record."""
    if number > known:
        raise StoreError(
            f"{where} is written in format {number}, and this mlops_assets reads up to {known}; "
            "install the newer mlops_assets that wrote it."
        )
