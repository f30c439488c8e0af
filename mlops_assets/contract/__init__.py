"""What a dataset folder may say, and errors that name file and line.

``model`` holds the values, ``load`` reads a folder, ``calendar`` knows batch keys, ``expression`` computes the target.
"""
