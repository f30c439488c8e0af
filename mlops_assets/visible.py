"""Texts of rows on their way to people: every letter is seen, and none commands a terminal or turns the line around.

What belongs here: writing the letters out that cannot be seen. What does not: cutting long texts (``stages.delivery``),
escaping for HTML or Markdown (whoever writes those).
"""

import re

_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
"""Control characters, and the marks that change the direction of what follows."""


def visible(text: str) -> str:
    r"""The text with unseen letters written out as Python writes them, like ``\x1b`` or ``\n``."""
    return _UNSEEN.sub(lambda found: repr(found[0])[1:-1], text)
