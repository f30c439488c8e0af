"""Drafts for a person to edit: what delivered data looks like, written as a contract or as a suite of expectations.

What belongs here: looking at delivered files and guessing. What does not: anything that a run relies on; a draft counts
only once somebody has put it into the dataset's folder.
"""
