"""Sources, their columns, the spine and joins: what is told of them."""

from pathlib import Path

from mlops_assets.contract.load import load_contract
from mlops_assets_tests.contract.parcels import CHURN, PARCELS, each_mistake, placed, told, told_instead, write

MISTAKES = [
    # --- sources
    ("  depots:\n", "  my-depots:\n", "Source 'my-depots': a source's name is a letter and then letters, digits or _."),
    (
        '    files: "landing/parcels_{batch}.csv"\n',
        "",
        "6: Source 'parcels': 'files' is missing; write a pattern like \"landing/orders_{batch}.csv\".",
    ),
    (
        "landing/depots.csv",
        "/etc/depots.csv",
        "Source 'depots': 'files' is '/etc/depots.csv'; it should stay inside the dataset's folder.",
    ),
    (
        "landing/depots.csv",
        "../depots.csv",
        "Source 'depots': 'files' is '../depots.csv'; it should stay inside the dataset's folder.",
    ),
    (
        "landing/parcels_{batch}.csv",
        "landing/parcels_{month}.csv",
        "Source 'parcels': 'files' is 'landing/parcels_{month}.csv'; the only braces it may have are {batch}.",
    ),
    (
        "landing/depots.csv",
        "landing/depots_{batch}.csv",
        "Source 'depots': a reference is one table for all batches; leave {batch} out of 'files'.",
    ),
    (
        "    event_time: at\n",
        "",
        "29: Source 'weather': nothing tells a row's batch; put {batch} into 'files', or say the 'event_time'.",
    ),
    (
        "event_time: at",
        "event_time: att",
        "Source 'weather': the event time names a column 'att' that is not there; did you mean 'at'?",
    ),
    (
        "event_time: at",
        "event_time: rain",
        "Source 'weather': the event time's column 'rain' should be a date or a timestamp, not float64.",
    ),
    (
        "event_time: {year: year}",
        "event_time: {year: depot}",
        "Source 'parcels': the event time's column 'depot' should be int64, not string.",
    ),
    (
        "event_time: {year: year}",
        "event_time: {month: year}",
        "Source 'parcels', event_time: give the columns of year, month, day and hour, from the year on without a gap.",
    ),
    (
        "event_time: {year: year}",
        "event_time: {yaer: year}",
        "Source 'parcels', event_time: unknown key 'yaer'; did you mean 'year'?",
    ),
    (
        "key: [depot, number]",
        "key: [depot, nummer]",
        "Source 'parcels': the key names a column 'nummer' that is not there; did you mean 'number'?",
    ),
    (
        "key: [depot, number]",
        "key: [depot, weight]",
        "Source 'parcels': the key's column 'weight' is a float64; fractions make no key. Use int64 or string.",
    ),
    ("key: [depot, number]", "key: [depot, number, depot]", "Source 'parcels': the key names 'depot' twice."),
    # --- columns
    (
        "weight: {type: float64, nullable",
        "weight: {nullable",
        (
            "Column 'weight' of 'parcels': 'type' is missing; one of "
            "'string', 'int64', 'float64', 'boolean', 'date', 'timestamp'."
        ),
    ),
    (
        "      opened: date",
        "      opened: dat",
        "Source 'depots', columns: 'opened' cannot be 'dat'; did you mean 'date'?",
    ),
    ("      opened: date", "      _file: date", "Source 'depots', columns: a column cannot be called '_file'."),
    ("minimum: 1}", "minimal: 1}", "Column 'number' of 'parcels': unknown key 'minimal'; did you mean 'minimum'?"),
    (
        "minimum: 1}",
        "nullable: true}",
        "Column 'number' of 'parcels': it is part of the key and so never null; leave 'nullable' out.",
    ),
    (
        "year: int64",
        "year: {type: int64, nullable: true}",
        "Column 'year' of 'parcels': it is part of the event time and so never null; leave 'nullable' out.",
    ),
    (
        "minimum: 0, maximum: 70.5",
        "minimum: 80, maximum: 70.5",
        "Column 'weight' of 'parcels': the minimum 80 is above the maximum 70.5; no value fits.",
    ),
    (
        "values: [Yes, No, 010]",
        "minimum: a",
        "Column 'service' of 'parcels': 'minimum' goes with numbers and dates, not with string.",
    ),
    ("minimum: 1}", 'pattern: "[1-9]+"}', "Column 'number' of 'parcels': 'pattern' goes with string, not with int64."),
    (
        "minimum: 1}",
        "format: '%Y'}",
        "Column 'number' of 'parcels': 'format' goes with date and timestamp, not with int64.",
    ),
    (
        '"[0-9 +]+"',
        '"[0-9 +"',
        (
            "Column 'phone' of 'parcels': 'pattern' '[0-9 +' is no regular expression at letter 1: "
            "unterminated character set."
        ),
    ),
    (
        "%Y-%m-%dT%H:%M:%SZ",
        "%Y-%q",
        ("Column 'sent' of 'parcels': 'format' has '%q'; write a pattern like %Y-%m-%d or %d.%m.%Y %H:%M."),
    ),
    (
        "%Y-%m-%dT%H:%M:%SZ",
        "yyyy",
        ("Column 'sent' of 'parcels': 'format' is 'yyyy'; write a pattern like %Y-%m-%d or %d.%m.%Y %H:%M."),
    ),
    (
        "missing: [none]",
        "missing: [No]",
        "Column 'service' of 'parcels': 'No' cannot be a value and mean a missing one.",
    ),
    (
        "role: sensitive",
        "role: sensitiv",
        "Column 'phone' of 'parcels': 'role' cannot be 'sensitiv'; did you mean 'sensitive'?",
    ),
    (
        "role: sensitive",
        "role: key",
        "Column 'phone' of 'parcels': 'role' 'key' is not written here; it follows from the source's 'key'.",
    ),
    (
        "role: sensitive",
        "role: [sensitive, feature]",
        "Column 'phone' of 'parcels': the roles 'feature' and 'sensitive' contradict each other.",
    ),
    # --- spine and joins
    ("spine: parcels\n", "spine: parcel\n", "The spine 'parcel' is no source; did you mean 'parcels'?"),
    (
        "spine: parcels\n",
        "spine: depots\n",
        "The spine 'depots' is a reference; its rows are the dataset's, so it is a batch.",
    ),
    ("source: depots", "source: depot", "Join of 'depot': there is no source 'depot'; did you mean 'depots'?"),
    ("on: [depot]", "on: [depo]", "Join of 'depots': the spine has no column 'depo'; did you mean 'depot'?"),
    ("on: [depot]", "on: {depot: dept}", "Join of 'depots': 'depots' has no column 'dept'; did you mean 'depot'?"),
    (
        "on: [depot]",
        "on: {number: depot}",
        "Join of 'depots': 'number' is int64 and 'depot' is string; they never match.",
    ),
    (
        "on: [depot]",
        "on: {depot: town}",
        "Join of 'depots': a row could match several of 'depots': its key has 'depot' too.",
    ),
    (
        "    key: depot\n",
        "",
        "35: Join of 'depots': 'depots' has no key, so a row could match several; give it a 'key'.",
    ),
    ("{city: town}", "{city: twon}", "Join of 'depots': 'depots' has no column 'twon'; did you mean 'town'?"),
    (
        "{city: town}",
        "{phone: town, city: town}",
        "Join of 'depots': the column 'phone' comes from the spine 'parcels' already; rename it: {new: old}.",
    ),
    (
        "source: depots, on: [depot], ",
        "source: depots, ",
        "36: Join of 'depots': 'on' is missing; name the columns that must be equal.",
    ),
    (
        "tolerance: 3h",
        "tolerance: 3 weeks",
        "Join of 'weather': 'tolerance' should be a time like 90m, 3h or 2d, not '3 weeks'.",
    ),
    (", warn_below: 0.99", ", tolerance: 2d", "Join of 'depots': 'tolerance' goes with 'as_of' only."),
    (", warn_below: 0.99", ", known_after: 2d", "Join of 'depots': 'known_after' goes with 'as_of' only."),
    (
        "known_after: 1h",
        "known_after: soon",
        "Join of 'weather': 'known_after' should be a time like 90m, 3h or 2d, not 'soon'.",
    ),
    (
        "known_after: 1h",
        "known_after: 4h",
        (
            "Join of 'weather': 'tolerance' counts from a row's own time, and what is known only after it is over "
            "never matches; write a 'tolerance' longer than 'known_after'."
        ),
    ),
    (
        "as_of: {sent: at}",
        "as_of: {number: rain}",
        "Join of 'weather': 'number' is int64 and 'rain' is float64; they never match.",
    ),
    (
        "as_of: {sent: at}",
        "as_of: {depot: place}",
        ("Join of 'weather': 'as_of' compares dates or timestamps, 'depot' is string."),
    ),
    ("as_of: {sent: at}", "as_of: [sent, at]", "Join of 'weather': 'as_of' is one time column, or {ours: theirs}."),
    (
        "joins:\n",
        "joins:\n  source: depots\nnotes:\n",
        "35: 'joins' should be a list, each item with source, on and columns.",
    ),
]


@each_mistake(MISTAKES)
def test_a_mistake(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert placed(old, sentence) in told_instead(tmp_path, old, new)


def test_the_sources_are_missing(tmp_path: Path) -> None:
    found = told_instead(tmp_path, "sources:\n", "sources:\nsource:\n")
    assert "dataset.yaml:5: Sources: there is none; describe the dataset's files, at least one source." in found
    assert "dataset.yaml:6: Unknown key 'source'; did you mean 'sources'?" in found


def test_the_only_batch_source_that_is_not_joined_is_the_spine(tmp_path: Path) -> None:
    text = PARCELS.replace("spine: parcels\n", "")
    assert load_contract(write(tmp_path / "parcels", text)).spine == "parcels"


def test_the_spine_must_be_named_when_it_could_be_two(tmp_path: Path) -> None:
    text = PARCELS.replace("spine: parcels\n", "").replace("  - {source: weather", "  # {source: weather")
    assert told(write(tmp_path / "parcels", text)) == [
        "dataset.yaml:1: 'spine' is missing; say whose rows are the dataset's: 'parcels' or 'weather'."
    ]


def test_the_spine_is_not_joined_to_itself(tmp_path: Path) -> None:
    text = PARCELS.replace("spine: parcels\n", "spine: weather\n")
    assert "dataset.yaml:35: The spine 'weather' cannot be joined to itself." in told(write(tmp_path / "parcels", text))


def test_no_source_is_left_for_the_spine(tmp_path: Path) -> None:
    text = PARCELS.replace("spine: parcels\n", "").replace("source: depots", "source: parcels")
    assert (
        "dataset.yaml:5: No source's rows can be the dataset's; one source of kind batch must not be joined."
        in told(write(tmp_path / "parcels", text))
    )


def test_a_date_is_no_hour(tmp_path: Path) -> None:
    text = CHURN.replace("sources:", "partitions: {cadence: hourly, start: 2013-01-01T00}\nsources:")
    text = text.replace("    key: [customerID]", "    key: [customerID]\n    event_time: day").replace(
        "      gender:", "      day: date\n      gender:"
    )
    assert told(write(tmp_path / "churn", text)) == [
        "dataset.yaml:10: Source 'customers': the batches are hours and 'day' is a date; a timestamp is needed."
    ]
