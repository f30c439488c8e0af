"""Words that sentences for people share.

What belongs here: how a count is said. What does not: any sentence.
"""


def counted(number: int, noun: str) -> str:
    """``1 row``, ``2,000 rows``, ``3 batches``."""
    ending = "es" if noun.endswith("ch") else "s"
    return f"{number:,} {noun}{'' if number == 1 else ending}"
