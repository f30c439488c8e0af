"""Damaged deliveries as they come in life, each generated, and an account of what becomes of every record.

``python -m mlops_assets_tests.stages.corpus`` prints them as a Markdown table; ``--wide`` with whole sentences.
"""
