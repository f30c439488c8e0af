"""Letters that cannot be seen are written out, and all others stay as they are."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\tb\r\nc", r"a\tb\r\nc"),
        ("\x9b2J", r"\x9b2J"),
        ("txt.\u202eexe", r"txt.\u202eexe"),
        ("\u2066x\u2069", r"\u2066x\u2069"),
        ("café 价格 👩‍🚀 \u00a0", "café 价格 👩‍🚀 \u00a0"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_nothing_commands_a_terminal(text: str) -> None:
    assert not any(unicodedata.category(letter) == "Cc" for letter in visible(text))
    assert visible(visible(text)) == visible(text)
