"""JupyterLab on this machine and a page in it, operated as a user would."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Locator, Page, sync_playwright

import inpaintkit

START_SECONDS = 90
RUN_SECONDS = 900
KERNEL_IS_THERE = """() => {
    const kernel = jupyterapp.shell.currentWidget?.context?.sessionContext?.session?.kernel;
    return kernel?.connectionStatus === 'connected' && kernel?.status === 'idle';
}"""
NO_CELL_RUNS = """() => {
    const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(prompt => prompt.innerText.trim());
    return prompts.every(prompt => prompt !== '[*]:');
}"""
RESTART = "() => jupyterapp.shell.currentWidget.context.sessionContext.session.kernel.restart()"
SHUT_DOWN = "() => jupyterapp.shell.currentWidget.context.sessionContext.shutdown()"
ANSWER_MS = 60_000  # a busy machine may be slow; nothing here measures time
SETTLE_MS = 400  # pictures and text of one update arrive one after the other
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET_BROWSER = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--hide-scrollbars",
)
SETTINGS: dict[str, dict[str, Any]] = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # all cells are on the page, not only those in sight
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
}


def find_browser() -> str | None:
    """Return the path of a Chromium, or None if there is none."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write_settings(folder: Path) -> None:
    for name, values in SETTINGS.items():
        file = folder / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))


@contextlib.contextmanager
def running_lab(folder: Path, private: Path) -> Iterator[str]:
    """Serve the notebooks in `folder` and yield the address; settings and runtime files go to `private`."""
    port, token = _free_port(), secrets.token_hex(16)
    _write_settings(private / "settings")
    names = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_RUNTIME_DIR": "runtime", "IPYTHONDIR": "ipython"}
    names |= {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces"}
    own = {name: str(private / part) for name, part in names.items()}
    own["PYTHONPATH"] = str(Path(inpaintkit.__file__).parents[1])  # kernels run the tested code, wherever they start
    environment = {name: value for name, value in os.environ.items() if name != "INPAINTKIT_PROGRESS"}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--expose-app-in-browser", "--allow-root"]
    command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    command += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
    with (private / "lab.log").open("w") as log:
        server = subprocess.Popen(command, env=environment | own, stdout=log, stderr=log, cwd=folder)
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(f"{address}/api/status?token={token}", server, private / "lab.log")
            yield f"{address}/lab/workspaces/{{workspace}}/tree/{{notebook}}?token={token}"
        finally:
            server.terminate()
            server.wait(timeout=START_SECONDS)


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    open_directly = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
    for _ in range(START_SECONDS * 2):
        with contextlib.suppress(OSError), open_directly(address, timeout=5):
            return
        if server.poll() is not None:
            break
        time.sleep(0.5)
    raise AssertionError(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")


@contextlib.contextmanager
def open_browser(profile: Path) -> Iterator[BrowserContext]:
    """Yield a headless Chromium with a profile of its own."""
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(profile),
            executable_path=find_browser(),
            headless=True,
            args=list(QUIET_BROWSER),
            viewport={"width": 1500, "height": 1000},
        )
        context.set_default_timeout(ANSWER_MS)
        yield context
        context.close()


PALE_TEXTS = """least => {
    const parts = colour => {
        const found = colour.match(/[\\d.]+/g).map(Number), scale = colour.startsWith('color(') ? 255 : 1;
        return [...found.slice(0, 3).map(value => value * scale), found[3] ?? 1];
    };
    const over = (front, back) => [0, 1, 2].map(i => front[i] * front[3] + back[i] * (1 - front[3]));
    const behind = element => {
        if (!element) return [255, 255, 255];
        const colour = parts(getComputedStyle(element).backgroundColor);
        return colour[3] === 1 ? colour.slice(0, 3) : over(colour, behind(element.parentElement));
    };
    const light = colour => {
        const [r, g, b] = colour.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const says = element => element.matches('select, input:not([type=checkbox])') ||
        [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    const seen = [...document.querySelectorAll('.jp-Cell-outputArea *')].filter(element =>
        says(element) && element.offsetHeight && !element.disabled && getComputedStyle(element).visibility === 'visible');
    const pale = seen.map(element => {
        const back = behind(element), front = over(parts(getComputedStyle(element).color), back);
        const [low, high] = [light(front), light(back)].sort((a, b) => a - b);
        return [(high + 0.05) / (low + 0.05), element.tagName, (element.innerText || '').slice(0, 40)];
    }).filter(text => text[0] < least);
    return [seen.length, pale];
}"""
"""Counts the texts in the outputs and finds those with too little contrast to their background (WCAG 2)."""


class NotebookPage:
    """One notebook in a page of JupyterLab."""

    def __init__(
        self, context: BrowserContext, address: str, notebook: str, beside: NotebookPage | None = None
    ) -> None:
        """Open `notebook`, in the loaded JupyterLab in which `beside` was closed if that is given."""
        if beside is None:
            self.page: Page = context.new_page()
            # A workspace of its own: a shared one brings back the notebooks opened before, as hidden tabs.
            self.page.goto(address.format(workspace=secrets.token_hex(8), notebook=notebook))
        else:
            self.page = beside.page
            self._call("docmanager:open", {"path": notebook, "factory": "Notebook"}, 60)
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        # Running cells before the kernel is ready opens a dialog.
        self.page.wait_for_function(KERNEL_IS_THERE, polling=SETTLE_MS)
        self._call("application:set-mode", {"mode": "single-document"}, 30)
        self.page.evaluate("() => jupyterapp.shell.collapseLeft()")

    def run_all(self) -> None:
        """Run all cells and wait for the last."""
        self._call("notebook:run-all-cells", {}, RUN_SECONDS)
        self.page.wait_for_timeout(500)

    def start_all(self) -> None:
        """Run all cells without waiting for them."""
        self.page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells'); }")

    def wait_until_idle(self) -> None:
        """Wait until no cell is running or waiting."""
        self.page.wait_for_function(NO_CELL_RUNS, timeout=RUN_SECONDS * 1000, polling=SETTLE_MS)
        self.page.wait_for_timeout(500)

    def save_notebook(self) -> None:
        """Write the notebook to disk."""
        self._call("docmanager:save", {}, 60)

    def shut_down(self) -> None:
        """End the kernel and close the notebook, saved or not."""
        self.page.evaluate(SHUT_DOWN)
        self.page.evaluate("() => jupyterapp.shell.currentWidget.dispose()")
        self.page.wait_for_selector(".jp-Notebook", state="detached")

    def restart_kernel(self) -> list[str]:
        """Restart the kernel; return what ipywidgets writes before each part of a widget that is no longer alive."""
        self.page.evaluate(RESTART)
        self.page.wait_for_selector(".inpaintkit.jupyter-widgets-disconnected")
        self.page.wait_for_timeout(SETTLE_MS)
        written = """all => all.map(part => getComputedStyle(part, "::before"))
            .filter(before => before.display !== "none").map(before => before.content)"""
        return list(self.page.eval_on_selector_all(".jupyter-widgets-disconnected", written))

    def stills(self) -> list[str]:
        """Return the alternative texts of the still pictures that are shown in place of widgets."""
        images = self.page.locator("[class^=inpaintkit-still] img:visible").all()
        return [str(image.get_attribute("alt")) for image in images]

    def run_cell(self, cell: Locator) -> None:
        """Run one cell again."""
        cell.locator(".jp-InputArea-editor").click()
        self._call("notebook:run-cell", {}, RUN_SECONDS)

    def _call(self, command: str, values: Mapping[str, Any], seconds: float) -> None:
        script = """([command, values, ms]) => Promise.race([
            jupyterapp.restored.then(() => jupyterapp.commands.execute(command, values)).then(() => 'done'),
            new Promise(resolve => setTimeout(() => resolve('too late'), ms))])"""
        answer = self.page.evaluate(script, [command, dict(values), seconds * 1000])
        assert answer == "done", f"{command} took more than {seconds} s"

    def change_theme(self, theme: str) -> None:
        """Switch the page to another theme and wait until its colours are applied."""
        self._call("apputils:change-theme", {"theme": theme}, 30)
        self.page.wait_for_selector(f'body[data-jp-theme-name="{theme}"]', state="attached")
        self.page.wait_for_timeout(SETTLE_MS)

    def pale_texts(self, least: float) -> tuple[int, list[Any]]:
        """Return how many texts the outputs show, and (contrast, tag, start) of those with less contrast than `least`."""
        count, pale = self.page.evaluate(PALE_TEXTS, least)
        return int(count), list(pale)

    def problems(self) -> list[str]:
        """Return the last lines of errors and warnings in outputs, except progress bars, which use the same channel."""
        texts = self.page.locator(".jp-OutputArea-output[data-mime-type*=stderr]").all_inner_texts()
        return [text[-2000:] for text in texts if "%|" not in text]

    def cell(self, text: str) -> Locator:
        """Return the code cell whose source contains `text`."""
        return (
            self.page.locator(".jp-CodeCell").filter(has=self.page.locator(".jp-InputArea-editor", has_text=text)).first
        )


def named(cell: Locator, label: str) -> Locator:
    """Return the control beside the `label`."""
    return cell.locator(f'xpath=.//label[normalize-space()="{label}"]/..')


def press(control: Locator, key: str, times: int = 1) -> None:
    """Press a key on a slider's handle."""
    handle = control.locator(".noUi-handle").first
    handle.focus()
    for _ in range(times):
        handle.press(key)


def sources(cell: Locator) -> list[str]:
    """Return the sources of the pictures in a cell's output, which change whenever a picture does."""
    return [str(image.get_attribute("src")) for image in cell.locator(".jp-Cell-outputArea img:visible").all()]


def wait_for_change(cell: Locator, before: list[str]) -> list[str]:
    """Wait until other pictures are shown and nothing changes any more; return their sources."""
    deadline, last = time.monotonic() + ANSWER_MS / 1000, before
    while time.monotonic() < deadline:
        cell.page.wait_for_timeout(SETTLE_MS)
        now = sources(cell)
        if now != before and now == last:
            return now
        last = now
    raise AssertionError("no picture changed")
