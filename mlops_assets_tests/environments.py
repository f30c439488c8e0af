"""Virtual environments beside the project's own, for tools that its tests only talk to.

What belongs here: making one on demand, from its lock in ``benchmarks/``. What does not: what a tool is asked.
"""

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]


@cache
def tool(environment: str, program: str = "python") -> Path:
    """A program of the environment ``environment`` (``dvc``, ``duckdb``), which is made if it is not there.

    It takes half a minute once, in ``.venv-<environment>``; processes that ask at the same time wait for one another.
    """
    folder = Path(f".venv-{environment}")
    words: list[str | Path] = ["tools/environment", folder, folder / ".complete", f"benchmarks/{environment}.lock"]
    subprocess.run(words, cwd=ROOT, check=True)
    return ROOT / folder / "bin" / program
