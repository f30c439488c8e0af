"""The work: pure functions from tables to tables, one module for each step of a batch or a release.

What belongs here: what happens to rows. What does not: versions, heads and bytes on disk (``store``), verdicts
(``checks``), Dagster (``assets``). A stage hands back ``made.Made``.
"""
