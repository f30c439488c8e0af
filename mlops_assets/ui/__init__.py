"""The Dagster UI, started so that only the person in front of it can use it.

What belongs here: what may reach the web server (``guard``), the web server itself (``server``), the processes that
make up a running UI (``services``), and what ends them (``keeper``). What does not: anything of a dataset, and anything
of Dagster that is not public (``assets.dagster_private``). Nothing here is imported by the code location.
"""
