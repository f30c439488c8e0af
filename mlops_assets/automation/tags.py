"""The tags by which runs say what they are for.

What belongs here: names. What does not: reading or writing them.
"""

DATASET = "mlops/dataset"
"""The dataset whose stages the run takes."""

CLAIM = "mlops/claim"
"""Who asked for the run, and for what, so that the same is not asked for twice: ``arrivals:2013-01..2013-03:17``.

A run with a claim was asked for by nobody in person: it works from what the ledger of deliveries holds, and does not
take in files that are still lying in the landing folder.
"""

PROCESS = "mlops/process"
"""The process that does the run's work, as ``automation.processes`` writes it."""

KILLED = "mlops/killed"
"""Set when a run was reported failed because its process had gone without a word; says what is known of how."""
