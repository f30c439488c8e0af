"""Every case of the corpus, in a fixed order."""

from mlops_assets_tests.stages.corpus import files, lines, tables, values
from mlops_assets_tests.stages.corpus.account import Case

CASES: tuple[Case, ...] = (*files.cases(), *lines.cases(), *values.cases(), *tables.cases())
