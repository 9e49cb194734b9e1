"""The last thing on the screen when a run ends early: a sentence that says what to do."""

import atexit
import re
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from memory_injections.errors import make_printable

INTERRUPTED = "Interrupted. Run the same command again to go on: what is finished is kept."
# What a job's log has for an error (`logs.start_log`).
ERROR = re.compile(r"^\S+ \S+ ERROR (.+)$", re.MULTILINE)


def end_with_a_sentence(logs: Path = Path("logs")) -> None:
    """Make this process print, as it ends, how to go on if it was interrupted, or else the errors of its jobs.

    Snakemake prints much after a job's own sentence, and nothing of what to do after Ctrl-C.
    """
    started = time.time()
    interrupts: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        interrupts.append(number)
        signal.default_int_handler(number, frame)

    def end() -> None:
        for sentence in [INTERRUPTED] if interrupts else find_errors(logs, started):
            print(f"\n{sentence}", file=sys.stderr, flush=True)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, note)
    atexit.register(end)


def find_errors(logs: Path, started: float) -> Sequence[str]:
    """Return the sentences of the errors in those logs that were written since a time, the same one only once."""
    written = sorted(path for path in logs.rglob("*.log") if path.stat().st_mtime >= started)
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in written)
    return list(dict.fromkeys(make_printable(error) for text in texts for error in ERROR.findall(text)))


def hide_interrupts() -> None:
    """Let Ctrl-C end this process without a traceback: where it was tells a user nothing."""
    show = sys.excepthook

    def hide(kind: type[BaseException], *rest: object) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            show(kind, *rest)  # type: ignore[arg-type]

    sys.excepthook = hide
