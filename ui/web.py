"""`mien ui`: the web page. It builds the same jobs as the command line, and runs on this machine alone."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from animate.errors import OptionError

from .web_jobs import JOB
from .web_limits import Limits
from .web_place import own_place

if TYPE_CHECKING:
    import gradio

    from .web_live import Stage

ABOUT = "Portraits that move, talk and change their faces, drawn on this machine."


@dataclass(frozen=True)
class Settings:
    """How the page is served; defaults are the command line's."""

    host: str = "127.0.0.1"
    port: int | None = None
    browser: bool = False
    model: str = "mini"
    device: str = "cpu"
    limits: Limits = field(default_factory=Limits)


@dataclass
class Served:
    """A page that runs: its address, and how to end it."""

    url: str
    blocks: gradio.Blocks
    work: Path
    stage: Stage

    def wait(self) -> None:
        """Returns when the process is interrupted."""
        with suppress(KeyboardInterrupt):  # gradio's own wait would close the server first, which waits for the jobs
            while self.blocks.is_running:
                time.sleep(0.2)


@contextmanager
def served(settings: Settings) -> Iterator[Served]:
    """The page at work until the block ends; then its files are gone.

    Raises OptionError where gradio is not installed or the port is taken, MienError for a model that is not there.
    """
    _check_gradio()
    before = os.environ.get("GRADIO_TEMP_DIR")
    with own_place() as work:
        os.environ["GRADIO_TEMP_DIR"] = str(work / "uploads")
        blocks = stage = None
        try:
            blocks, stage = build(settings, work)
            yield Served(_launch(blocks, stage, settings), blocks, work, stage)
        finally:
            if stage is not None:
                stage.close_all()
                stage.page.close()
            if blocks is not None:
                blocks.close(verbose=False)
            if before is None:
                del os.environ["GRADIO_TEMP_DIR"]
            else:
                os.environ["GRADIO_TEMP_DIR"] = before


def build(settings: Settings, work: Path) -> tuple[gradio.Blocks, Stage]:
    """The page itself, and its live part, whose routes the server needs as well."""
    from animate.animator import model_folder
    from animate.device import check_device

    from .web_about import CONSENT, about_tab
    from .web_edit import Studio, edit_tab
    from .web_group import group_tab
    from .web_live import Stage, live_tab
    from .web_page import Page
    from .web_parts import gr
    from .web_tabs import animate_tab, dub_tab, talk_tab

    model_folder(settings.model)
    check_device(settings.device)
    page = Page(work, settings.limits, settings.model, settings.device)
    studio = Studio(page)
    stage = Stage(page, studio)
    seconds = int(60 * settings.limits.keep_minutes)
    with gr.Blocks(title="Mien", analytics_enabled=False, delete_cache=(max(1, seconds // 6), seconds)) as blocks:
        gr.Markdown(f"# Mien\n\n{ABOUT} {CONSENT}", elem_classes="mien-head")
        with gr.Tabs():
            for name, fill in (
                ("Animate", lambda: animate_tab(page)),
                ("Talk", lambda: talk_tab(page)),
                ("Dub", lambda: dub_tab(page)),
                ("Edit", lambda: edit_tab(page, studio)),
                ("Group", lambda: group_tab(page, studio)),
                ("Live", lambda: live_tab(page, stage)),
                ("About", lambda: about_tab(page)),
            ):
                with gr.Tab(name, id=name.lower()):
                    fill()
    blocks.queue(max_size=settings.limits.waiting, default_concurrency_limit=4)
    return blocks, stage


def run(settings: Settings) -> None:
    """Serves the page until it is interrupted."""
    from .console import err_console

    with served(settings) as page:
        err_console().print(f"Mien's page is at {page.url} (Ctrl-C ends it).", markup=False)
        page.wait()
        err_console().print("Closing the page …", markup=False)
    if page.stage.page.at_work():
        # A thread inside a library cannot be asked to stop; Python would wait for it, or be aborted by it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _launch(blocks: gradio.Blocks, stage: Stage, settings: Settings) -> str:
    from .web_guard import Guard, middleware
    from .web_style import CSS, HEAD, theme

    guard = Guard(settings.limits, stage.page.uploads)
    stage.page.ready.clear()
    try:
        app, url, _ = blocks.launch(
            server_name=settings.host,
            server_port=settings.port,
            inbrowser=settings.browser,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            show_error=True,
            ssr_mode=False,
            pwa=False,
            run_history=False,
            mcp_server=False,
            enable_monitoring=False,
            max_file_size=f"{settings.limits.upload_mb}mb",
            allowed_paths=[],
            footer_links=["api"],
            app_kwargs={"middleware": middleware(guard), "docs_url": None, "redoc_url": None},
            theme=theme(),
            css=CSS,
            head=HEAD,
        )
    except OSError as error:
        place = f"port {settings.port}" if settings.port else "any port from 7860 on"
        raise OptionError(f"The page cannot be served at {settings.host}, {place}: choose another --port.") from error
    app.router.routes[:0] = stage.routes()
    threading.Thread(target=stage.studio.warm, name=JOB, daemon=True).start()
    return url


def _check_gradio() -> None:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise OptionError("The page needs gradio, which is not installed: pip install 'mien[ui]'.") from error
