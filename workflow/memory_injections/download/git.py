"""Fetching files and folders of a git repository at a commit."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from memory_injections.errors import StudyError


def fetch_commit(repo: str, commit: str, paths: Sequence[str], into: Path) -> None:
    """Fill the empty folder `into` with files and folders of a repository at a commit; git's hashes vouch for them.

    Raises `StudyError` if git cannot fetch them.
    """

    def git(*arguments: str) -> None:
        # A repository that does not exist looks to git like one that wants a password. Other protocols run programs.
        environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "http:https:file"}
        done = subprocess.run(["git", "-C", str(into), *arguments], text=True, capture_output=True, env=environment)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["git said nothing"])[-1]
            raise StudyError(
                f"git cannot fetch commit {commit} of {repo} ({reason}); check `repo`, `commit` and the network, "
                "or give a local copy (of results with `source: folder`, of a data set with `source: file`)"
            )

    git("init", "--quiet")
    git("config", "core.symlinks", "false")  # a link could lead out of the folder
    git("remote", "add", "--", "origin", repo)
    git("sparse-checkout", "set", "--no-cone", *(f"/{path}" for path in paths))
    git("fetch", "--quiet", "--depth=1", "--filter=blob:none", "origin", commit)
    git("checkout", "--quiet", "FETCH_HEAD")
