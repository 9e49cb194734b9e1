"""Serving the playground's page to this machine, and to no other."""

import socket
from typing import TYPE_CHECKING

from memory_injections.errors import StudyError

if TYPE_CHECKING:  # imported when it is needed: what is wrong with a port is said at once
    from memory_injections.interactive.injector import Injector

HOST = "127.0.0.1"


def find_port(wanted: int) -> int:
    """Return the wanted port, or a free one for 0.

    Raises `StudyError`, one sentence, if the port cannot be had or the web library is not installed.
    """
    try:
        import nicegui  # noqa: F401
    except ModuleNotFoundError as error:
        raise StudyError(
            f"the playground needs the package {error.name}, which is not installed; in the project's folder, run "
            "pip install -e '.[playground]'"
        ) from None
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just left is free
        try:
            probe.bind((HOST, wanted))
        except (OSError, OverflowError) as error:
            raise StudyError(f"port {wanted} of {HOST} cannot be had ({error}); give another with --port") from None
        return probe.getsockname()[1]


def serve_playground(injector: "Injector", model: str, port: int, opens_browser: bool) -> None:
    """Serve the page until the process is interrupted; `model` is the name of the model that is loaded.

    Only requests to this machine by its own name are answered, so that a page from elsewhere whose name was made to
    lead here cannot use it.
    """
    from nicegui import app, ui
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from memory_injections.playground.page import KeptModel, Page

    loaded = KeptModel(model, injector)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    app.on_startup(lambda: print(f"The playground is at http://{HOST}:{port} (Ctrl+C ends it).", flush=True))
    ui.run(
        lambda: Page(loaded).build(),
        host=HOST,
        port=port,
        title="Memory injections: playground",
        language="en-GB",
        dark=None,  # as the browser prefers
        tailwind=False,
        show=opens_browser,
        show_welcome_message=False,
        reload=False,
    )
