"""Prints the corpus."""

import sys
import tempfile
from collections import Counter
from pathlib import Path

from mlops_assets_tests.stages.corpus.account import table_lines
from mlops_assets_tests.stages.corpus.every import CASES


def main() -> None:
    """Print the table and how many deliveries met which verdict."""
    with tempfile.TemporaryDirectory() as folder:
        for line in table_lines(CASES, Path(folder), wide="--wide" in sys.argv):
            sys.stdout.write(line + "\n")
    counts = Counter(case.verdict for case in CASES)
    sys.stdout.write(f"\n{len(CASES)} deliveries: {', '.join(f'{n} {word}' for word, n in counts.items())}.\n")


main()
