"""Write executed notebooks and Markdown as single HTML files that can be sent around."""

from pathlib import Path

from inpaintkit.files import atomic_write_text
from inpaintkit.notebook.schemas import load_nbformat

load_nbformat()

import nbformat  # noqa: E402
from nbconvert import HTMLExporter  # noqa: E402


def write_html(executed: str | Path) -> Path:
    """Write an executed notebook without its code as ``NAME.html`` beside it, and return that file.

    Figures are embedded, and nothing is fetched from elsewhere when the file is opened.
    """
    executed = Path(executed)
    return _write(nbformat.read(executed, as_version=4), executed.with_suffix(".html"))


def write_page(markdown: str, target: str | Path) -> Path:
    """Write Markdown as one HTML file, with the pictures that it names (beside `target`) embedded; return that file."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(markdown)])
    return _write(book, Path(target), named_pictures=True)


def _write(book: nbformat.NotebookNode, target: Path, named_pictures: bool = False) -> Path:
    exporter = HTMLExporter(exclude_input=True, exclude_input_prompt=True, exclude_output_prompt=True, mathjax_url="")
    exporter.require_js_url = ""
    exporter.jquery_url = ""
    # Not for notebooks, which contain their figures: embedding also closes HTML tags before the Markdown that they enclose.
    exporter.embed_images = named_pictures
    body, _ = exporter.from_notebook_node(book, {"metadata": {"name": target.stem, "path": str(target.parent)}})
    atomic_write_text(target, body)
    return target
