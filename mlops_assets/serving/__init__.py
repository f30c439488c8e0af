"""What answers requests: the features of a request, and the table of the past that they are looked up in.

What belongs here: what a server does, from files on disk alone. What does not: Dagster, MLflow and the store, none of
which is imported to answer a request; ``assets.views`` writes what is read here.
"""
