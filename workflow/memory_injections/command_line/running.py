"""What commands have in common: they load a model, show progress, and print an error as one sentence."""

import gc
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from memory_injections.command_line import terminal
from memory_injections.errors import StudyError

# The modules that compute are imported with the model, so that help and errors appear at once.
if TYPE_CHECKING:
    from memory_injections.interactive.injector import Injector

# Where studies of the current folder keep the models that they have converted.
STUDIES_MODELS = Path("results/shared/models")
# Characters of a model's name that are shown.
LONGEST_SHOWN = 60
results, notes = Console(), Console(stderr=True)


def exit_on_error(command: Callable[..., None], describe: Callable[[StudyError], object] = str) -> Callable[..., None]:
    """Make a command print a `StudyError` as one sentence and exit with status 1; Ctrl-C, too, is a sentence."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except StudyError as error:
            typer.echo(f"memory-injections: {describe(error)}", err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            typer.echo("memory-injections: interrupted; run the same command again", err=True)
            raise typer.Exit(128 + signal.SIGINT) from None

    return run


def format_examples(*examples: str) -> str:
    return "\n\n".join(["Examples:", *(f"memory-injections {example}" for example in examples)])


@contextmanager
def load_injector(
    model: str, device: str | None, is_grid: bool = False
) -> Iterator[tuple["Injector", Callable[[int, int], None]]]:
    """Yield an injector, and a function that shows its progress, while a clock runs in the terminal.

    Only a grid has enough to compute for more than one thread.
    """
    with terminal.show_progress(notes, f"loading {model[:LONGEST_SHOWN]}") as progress:
        # Garbage collection among PyTorch's modules takes two seconds: during their import, and again at exit.
        gc.disable()
        import torch
        import transformers

        from memory_injections.interactive.injector import Injector

        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        try:
            injector = Injector.load(model, device, STUDIES_MODELS)
            torch.set_num_threads(n_threads if is_grid else 1)
            yield injector, progress
        finally:
            torch.set_num_threads(n_threads)
            gc.freeze()
            gc.enable()
