"""What happens to a model around its training: tracking, versions, promotion, reproduction, packaging.

The record of all of it stands in the store; MLflow and Dagster are views of it.
"""
