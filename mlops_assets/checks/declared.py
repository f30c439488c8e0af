"""The checks of every stage by name, severity and description.

What belongs here: what Dagster and the plan must know of a check before any data is looked at, so nothing heavy is
imported. What does not: how a check judges (``batch``, ``features``,
``expectations``, ``parts``, ``release``).
"""

from collections.abc import Mapping

from mlops_assets.checks import datatests
from mlops_assets.checks.verdict import Check
from mlops_assets.contract.calendar import Calendar
from mlops_assets.contract.model import Contract, Source
from mlops_assets.contract.pointintime import compared
from mlops_assets.dbtproject.shape import CLEANED

READABLE = Check("readable", "block", "Every delivered file can be read as the contract describes it.")
COMPLETE = Check("complete", "block", "No file ends in the middle of a record.")
FINAL_NEWLINE = Check("final_newline", "warn", "Files end with a line end, as earlier ones did; or the end may be cut.")
VERIFIED = Check("verified", "warn", "Parquet files have page checksums, as earlier ones did; else damage may pass.")
COLUMNS = Check("columns", "warn", "Files have no columns that the contract does not know.")
IN_BATCH = Check("in_batch", "block", "Every row's event time lies in the batch it was delivered for.")
VOLUME = Check("volume", "warn", "There are about as many rows as in the batches before.")
CONSERVATION = Check("conservation", "block", "Raw rows are accepted, quarantined or exact duplicates: none is lost.")
NEW_REASONS = Check("new_reasons", "warn", "No row is refused for a reason that the batches before did not have.")
ADMITTED = Check("admitted", "warn", "No row is accepted only because a person let it in by name.")
REJECTED = Check("rejected", "block", "The share of quarantined rows stays below the limit that refuses a batch.")
REJECTED_WARN = Check("rejected_warn", "warn", "The share of quarantined rows stays below the limit that warns.")
UNIQUE_KEY = Check("unique_key", "block", "No two rows have the same key.")
FAN_OUT = Check("fan_out", "block", "Joins neither multiply nor lose rows.")
MATCHES = Check("matches", "warn", "Joins find as many matches as the contract expects.")
REQUIRED_MATCHES = Check("required_matches", "block", "Inner joins find a match for every row.")
NOT_EMPTY = Check("not_empty", "block", "The batch has rows.")
ALIGNED = Check("aligned", "block", "Every cleaned row has one bucket.")
IN_RANGE = Check("schema", "block", "Buckets are whole numbers in range.")
BUCKETS = Check("buckets", "warn", "Keys or groups spread evenly over the buckets.")
SCHEMA = Check(
    "schema",
    "block",
    "Features have their types, finite numbers, what the contract says of their columns, a row for each cleaned row.",
)
FILLED = Check("filled", "warn", "No feature is empty, nor constant where it varied before.")
TARGET = Check("target", "block", "Some rows have an answer.")
CLASSES = Check("classes", "warn", "The answers are not all the same.")
POINT_IN_TIME = Check("point_in_time", "block", "No row is joined with what was known only later.")
ALONE = Check("alone", "block", "No feature alone ranks the answers too well; one that does is a leak.")
KNOWN_BEFORE = Check("known_before", "block", "No feature is made from what is known only after its row.")
DRIFT = Check("drift", "warn", "No feature is distributed otherwise than in the reference, beyond chance.")
MISSING = Check("missing", "warn", "Of no feature are many more values missing than in the reference.")
UNSEEN = Check("unseen", "warn", "Few rows have a category that the reference does not have.")

DISJOINT = Check("disjoint", "block", "No key, and no group by which rows are split, stands in two parts of a release.")
ORDER = Check("order", "block", "By their own event times training, embargo, validation and test follow one another.")
STABLE = Check("stable", "warn", "No row that tested an earlier release trains now.")
PARTS = Check("parts", "warn", "The parts have the sizes that are asked for, and their answers are much alike.")
ADVERSARIAL = Check("adversarial", "warn", "By their features test rows cannot easily be told from training rows.")
DRIFT_TEST = Check("drift_test", "warn", "No feature is distributed otherwise in the test rows than in training.")
TWINS = Check("twins", "warn", "Test rows do not stand nearly the same in training.")

ONLINE_SCHEMA = Check("schema", "block", "The columns that windows need have their types, for each cleaned row.")
PARITY = Check("parity", "block", "Asked for one by one, as a request does, rows have the features of their batch.")
COUNTING = Check("counting", "warn", "Every window has rows that can count for it.")

FITTED = Check(
    "fitted", "block", "Every model says something finite of every row, and the candidate not always the same."
)
CONVERGED = Check("converged", "warn", "Every model's solver converged.")
MINIMUM = Check("minimum", "block", "The candidate's metrics reach the contract's minimum.")
MAXIMUM = Check("maximum", "block", "No metric is above the contract's maximum; too good to be true is a leak.")
BEATS = Check("beats_baselines", "block", "The candidate surely beats each named baseline on the same test rows.")
CALIBRATED = Check("calibration", "warn", "What the candidate says is, on average, what happens.")
GROUPS = Check("groups", "warn", "No group of rows is surely treated otherwise than the whole.")
AGREEMENT = Check("agreement", "block", "The final refit decides as the evaluated candidate does.")

_ALWAYS: Mapping[str, tuple[Check, ...]] = {
    "online": (ONLINE_SCHEMA, COUNTING),
    "candidate_model": (FITTED, CONVERGED),
    "evaluation_report": (MINIMUM, MAXIMUM, BEATS, CALIBRATED, GROUPS),
    "trained_model": (AGREEMENT,),
}


def checks(contract: Contract, stage: str) -> tuple[Check, ...]:
    """The checks of a stage, in the order of its verdicts."""
    tested = datatests.checks(contract) if stage == CLEANED else ()
    return own(contract, stage) + foresight(stage) + alike(contract, stage) + expected(contract, stage) + tested


def foresight(stage: str) -> tuple[Check, ...]:
    """What is asked of features beside the rows that they were made from, and beside others; ``features`` judges it."""
    return (ALONE, KNOWN_BEFORE, DRIFT, MISSING, UNSEEN) if stage == "features" else ()


def alike(contract: Contract, stage: str) -> tuple[Check, ...]:
    """What is asked of features that serving has to compute itself; ``parity`` judges it."""
    made = bool(contract.windows.each) or any(feature.computed for feature in contract.features)
    return (PARITY,) if stage == "features" and made else ()


def expected(contract: Contract, stage: str) -> tuple[Check, ...]:
    """What analysts expect of a raw source; ``expectations`` judges it."""
    return tuple(
        Check(each.name, "block" if each.severity == "critical" else "warn", each.description)
        for each in contract.expectations_of(stage.removeprefix("raw/"))
        if stage.startswith("raw/")
    )


def own(contract: Contract, stage: str) -> tuple[Check, ...]:
    """The checks that a stage has by itself; ``batch`` and ``release`` judge it."""
    match stage.split("/"):
        case ["raw", name]:
            return _raw(contract, contract.sources[name])
        case ["quarantine"]:
            return (CONSERVATION, NEW_REASONS)
        case ["cleaned"]:
            kinds = {join.kind for join in contract.joins}
            joins = [check for kind, check in (("left", MATCHES), ("inner", REQUIRED_MATCHES)) if kind in kinds]
            let_in = (ADMITTED,) if contract.admitted else ()
            in_time = (POINT_IN_TIME,) if any(compared(contract)) else ()
            return (REJECTED, REJECTED_WARN, *let_in, UNIQUE_KEY, FAN_OUT, *joins, *in_time, NOT_EMPTY)
        case ["splits"]:
            return (IN_RANGE, ALIGNED, BUCKETS)
        case ["features"]:
            return (SCHEMA, FILLED, TARGET, CLASSES)
        case _:
            return _parted(contract) if stage == "split_report" else _ALWAYS[stage]


def _parted(contract: Contract) -> tuple[Check, ...]:
    by_time = contract.split.by == "time"
    timed = by_time and contract.sources[contract.spine].event_time is not None
    built = (ORDER,) if timed else () if by_time else (STABLE,)
    return (DISJOINT, *built, PARTS, ADVERSARIAL, DRIFT_TEST, TWINS)


def _raw(contract: Contract, source: Source) -> tuple[Check, ...]:
    text = source.format.kind != "parquet"
    found = [READABLE, COMPLETE, FINAL_NEWLINE, COLUMNS] if text else [READABLE, VERIFIED, COLUMNS]
    if source.kind == "batch":
        if source.event_time is not None and Calendar.of(contract.partitions).timed:
            found.append(IN_BATCH)
        found.append(VOLUME)
    return tuple(found)
