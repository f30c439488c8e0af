"""SQL cleaning: the dbt project of a dataset folder, compiled once by dbt and executed for each batch.

What belongs here: everything about dbt, its compiled SQL and the DuckDB that runs it. What does not: what the result
means for a version (``stages.transform``), verdicts (``checks.datatests``), Dagster. A dataset without a ``dbt`` folder
never comes here.
"""
