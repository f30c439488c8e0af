"""The types of expectation that Great Expectations knows, and what each asks for.

What belongs here: names, kwargs and kinds of columns, so that a suite can be checked without importing the library; a
test holds them against the installed one. What does not: reading a suite (``expectations``), judging (``checks``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mlops_assets.contract.model import ColumnType

Domain = Literal["table", "column", "pair", "list"]

_NUMBERS: tuple[ColumnType, ...] = ("int64", "float64")
_ORDERED: tuple[ColumnType, ...] = ("int64", "float64", "date", "timestamp")
_TEXT: tuple[ColumnType, ...] = ("string",)


@dataclass(frozen=True, slots=True)
class ExpectationType:
    """What a type of expectation looks at, and the kwargs it takes besides its columns.

    ``rows``: each row is judged on its own, so that ``mostly`` says which share must be as expected. ``of``: the types
    of column it can be asked of; any when empty. ``shows``: what it observes is a value of some row.
    """

    domain: Domain
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    rows: bool = False
    of: tuple[ColumnType, ...] = ()
    shows: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The kwargs that name columns."""
        return {"table": (), "column": ("column",), "pair": ("column_A", "column_B"), "list": ("column_list",)}[
            self.domain
        ]

    @property
    def kwargs(self) -> tuple[str, ...]:
        """Every kwarg that it knows."""
        mostly = ("mostly",) if self.rows else ()
        return (*self.columns, *self.needs, *self.takes, *mostly, *CONDITION)

    @property
    def bounded(self) -> bool:
        """Whether it says between which values something should lie."""
        return "min_value" in self.takes and "strict_min" in self.takes


CONDITION = ("row_condition", "condition_parser")
"""Kwargs of every type: only the rows that keep the condition are looked at."""

_BOUNDS = ("min_value", "max_value", "strict_min", "strict_max")
_SET = ("value_set",)


def _of_rows(*needs: str, takes: tuple[str, ...] = (), of: tuple[ColumnType, ...] = ()) -> ExpectationType:
    return ExpectationType("column", needs, takes, rows=True, of=of)


def _of_column(
    *needs: str, takes: tuple[str, ...] = (), of: tuple[ColumnType, ...] = (), shows: bool = False
) -> ExpectationType:
    return ExpectationType("column", needs, takes, of=of, shows=shows)


TYPES: Mapping[str, ExpectationType] = {
    # each value of a column
    "expect_column_values_to_be_between": _of_rows(takes=_BOUNDS, of=_ORDERED),
    "expect_column_values_to_be_in_set": _of_rows(*_SET),
    "expect_column_values_to_not_be_in_set": _of_rows(*_SET),
    "expect_column_values_to_be_null": _of_rows(),
    "expect_column_values_to_not_be_null": _of_rows(),
    "expect_column_values_to_be_unique": _of_rows(),
    "expect_column_value_lengths_to_be_between": _of_rows(takes=_BOUNDS, of=_TEXT),
    "expect_column_value_lengths_to_equal": _of_rows("value", of=_TEXT),
    "expect_column_values_to_match_regex": _of_rows("regex", of=_TEXT),
    "expect_column_values_to_not_match_regex": _of_rows("regex", of=_TEXT),
    "expect_column_values_to_match_regex_list": _of_rows("regex_list", takes=("match_on",), of=_TEXT),
    "expect_column_values_to_not_match_regex_list": _of_rows("regex_list", of=_TEXT),
    "expect_column_values_to_match_strftime_format": _of_rows("strftime_format", of=_TEXT),
    "expect_column_values_to_be_dateutil_parseable": _of_rows(of=_TEXT),
    "expect_column_values_to_be_json_parseable": _of_rows(of=_TEXT),
    "expect_column_values_to_match_json_schema": _of_rows("json_schema", of=_TEXT),
    "expect_column_values_to_be_increasing": _of_rows(takes=("strictly",), of=_ORDERED),
    "expect_column_values_to_be_decreasing": _of_rows(takes=("strictly",), of=_ORDERED),
    "expect_column_value_z_scores_to_be_less_than": _of_rows("threshold", "double_sided", of=_NUMBERS),
    "expect_column_values_to_not_be_outliers": _of_rows(takes=("method", "multiplier"), of=_NUMBERS),
    # a column as a whole
    "expect_column_max_to_be_between": _of_column(takes=_BOUNDS, of=_ORDERED, shows=True),
    "expect_column_min_to_be_between": _of_column(takes=_BOUNDS, of=_ORDERED, shows=True),
    "expect_column_mean_to_be_between": _of_column(takes=_BOUNDS, of=_NUMBERS),
    "expect_column_median_to_be_between": _of_column(takes=_BOUNDS, of=_NUMBERS, shows=True),
    "expect_column_sum_to_be_between": _of_column(takes=_BOUNDS, of=_NUMBERS),
    "expect_column_stdev_to_be_between": _of_column(takes=_BOUNDS, of=_NUMBERS),
    "expect_column_quantile_values_to_be_between": _of_column(
        "quantile_ranges", takes=("allow_relative_error",), of=_NUMBERS, shows=True
    ),
    "expect_column_unique_value_count_to_be_between": _of_column(takes=_BOUNDS),
    "expect_column_proportion_of_unique_values_to_be_between": _of_column(takes=_BOUNDS),
    "expect_column_proportion_of_non_null_values_to_be_between": _of_column(takes=_BOUNDS),
    "expect_column_most_common_value_to_be_in_set": _of_column(*_SET, takes=("ties_okay",), shows=True),
    "expect_column_distinct_values_to_be_in_set": _of_column(*_SET, shows=True),
    "expect_column_distinct_values_to_contain_set": _of_column(*_SET, shows=True),
    "expect_column_distinct_values_to_equal_set": _of_column(*_SET, shows=True),
    "expect_column_kl_divergence_to_be_less_than": _of_column(
        "partition_object",
        "threshold",
        takes=("internal_weight_holdout", "tail_weight_holdout", "bucketize_data", "min_value", "max_value"),
    ),
    # several columns
    "expect_column_pair_values_a_to_be_greater_than_b": ExpectationType(
        "pair", takes=("or_equal", "ignore_row_if"), rows=True
    ),
    "expect_column_pair_values_to_be_equal": ExpectationType("pair", takes=("ignore_row_if",), rows=True),
    "expect_column_pair_values_to_be_in_set": ExpectationType(
        "pair", ("value_pairs_set",), ("ignore_row_if",), rows=True
    ),
    "expect_compound_columns_to_be_unique": ExpectationType("list", takes=("ignore_row_if",), rows=True),
    "expect_multicolumn_sum_to_equal": ExpectationType(
        "list", ("sum_total",), ("ignore_row_if",), rows=True, of=_NUMBERS
    ),
    "expect_multicolumn_values_to_be_equal": ExpectationType("list", takes=("ignore_row_if",), rows=True),
    "expect_select_column_values_to_be_unique_within_record": ExpectationType(
        "list", takes=("ignore_row_if",), rows=True
    ),
    # the table
    "expect_table_row_count_to_be_between": ExpectationType("table", takes=_BOUNDS),
    "expect_table_row_count_to_equal": ExpectationType("table", ("value",)),
}
"""The types that can be asked of delivered rows."""

_SQL = "asks an SQL database, and delivered rows are a table in memory"
_PATTERN = f"{_SQL}; use expect_column_values_to_match_regex or expect_column_values_to_not_match_regex"
_DECLARED = "is the contract's to say: dataset.yaml declares the type, and values of another are quarantined"
_PRESENT = "is the contract's to say: a file without the declared columns is refused, and others are told as a warning"

UNFIT: Mapping[str, str] = {
    "expect_column_values_to_match_like_pattern": _PATTERN,
    "expect_column_values_to_match_like_pattern_list": _PATTERN,
    "expect_column_values_to_not_match_like_pattern": _PATTERN,
    "expect_column_values_to_not_match_like_pattern_list": _PATTERN,
    "expect_query_results_to_match_comparison": _SQL,
    "expect_table_row_count_to_equal_other_table": _SQL,
    "unexpected_rows_expectation": _SQL,
    "expect_column_type_to_be": _DECLARED,
    "expect_column_values_to_be_of_type": _DECLARED,
    "expect_column_values_to_be_in_type_list": _DECLARED,
    "expect_column_to_exist": _PRESENT,
    "expect_table_column_count_to_be_between": _PRESENT,
    "expect_table_column_count_to_equal": _PRESENT,
    "expect_table_columns_to_match_ordered_list": _PRESENT,
    "expect_table_columns_to_match_set": _PRESENT,
}
"""The other types, each with the reason why it says nothing about delivered rows."""
