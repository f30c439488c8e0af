"""The rule of formats."""

import pytest

from mlops_assets.errors import StoreError
from mlops_assets.store.formats import check_format


def test_only_a_newer_format_is_refused() -> None:
    check_format(1, 2, "X")
    check_format(2, 2, "X")
    with pytest.raises(StoreError, match="X is written in format 3, and this mlops_assets reads up to 2; install"):
        check_format(3, 2, "X")
