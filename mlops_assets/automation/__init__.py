"""What happens by itself: new data, the cascade, the sweep, schedules, and what is done when a run fails.

What belongs here: sensors, schedules, conditions and what they decide from the store's records. What does not: what is
out of date (``assets.plan``, ``assets.staleness``), the work, and anything of Dagster that is not public
(``assets.dagster_private``). Nothing heavy is imported when the code location loads.
"""
