"""The tests, one file for each module of the package, in folders of the same names."""
