"""Audits: pure functions from what a stage made to verdicts.

What belongs here: what is asked of a value before anybody may read it. What does not: making values (``stages``), what
a verdict leads to (``assets``).
"""
