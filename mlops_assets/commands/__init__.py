"""The subcommands of ``mlops-assets``, a module for each room of work.

What belongs here: arguments, what is printed, exit codes. What does not: any decision; a command calls the functions
that the assets call. Modules are imported by the command that needs them, so that asking costs little.
"""
