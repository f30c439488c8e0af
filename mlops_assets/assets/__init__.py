"""Where stages, checks and the store become assets.

``graph``, ``code``, ``landing``, ``plan``, ``work``, ``publish``, ``provenance`` and ``unreported`` know nothing of
Dagster: they say what the assets of a dataset are, what is out of date, take one stage and one batch through write,
audit, publish, and note what Dagster is still to be told.
``specs``, ``events``, ``steps`` and ``runs`` are the Dagster shells around them; whatever of Dagster is not public
stands in ``dagster_private``. Nothing here computes on data.
"""
