"""An evaluation report as a person reads it.

What belongs here: turning the plain JSON of ``stages.evaluate`` and a provenance into one HTML page (``page``), its
plots (``plots``) and its sentences (``words``). What does not: computing anything that is not in the report, files,
Dagster. Nothing is imported here, so that a caller pays for what it uses: ``report.page.html``, ``report.plots.svg``.
"""
