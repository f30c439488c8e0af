"""Tests of the report that people read."""
