"""Run all benchmarks and write ``docs/benchmarks.md``: ``make bench``, a quarter of an hour on two quiet cores.

By convention, ``benchmarks/bench_NAME.py`` has a ``main()`` that prints Markdown to stdout, tables above all. A table
whose first column is called ``size`` and holds 1x, 2x, ... is also plotted if it has columns ``seconds`` and ``MiB``:
against size, both axes logarithmic, with a dotted line for a cost that grows in proportion to the size.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from inpaintkit.files import atomic_write_text
from inpaintkit.inspection.figures import INK, PALETTE, QUIET, save_figure
from inpaintkit.notebook.machine import machine_facts, versions

ROOT = Path(__file__).parent.parent
RELEASED = ROOT / "models" / "released" / "light_inpaint_v1.pth"
SKIPPED = ("bench_recipe",)
"""They take hours of training, not minutes."""

SHORTER: dict[str, list[str]] = {
    "bench_gan": ["--sizes", "4x188", "--perceptual", "alex"],
    "bench_train": ["--crops", "128", "252", "--perceptual", "alex", "--repeats", "3"],
    "bench_holes": ["--scenes", "30"],
}
"""Arguments that keep the whole run near ten minutes."""

LIMIT_SECONDS = 900
FAILED = "**It"
"""How the line begins that reports, in a section, that the script failed or ran out of time."""

Table = list[list[str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only",
        nargs="*",
        default=None,
        metavar="NAME",
        help="for example scaling inpainter; the other sections stay",
    )
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks.md")
    options = parser.parse_args()
    scripts = [p for p in sorted((ROOT / "benchmarks").glob("bench_*.py")) if p.stem not in SKIPPED]
    sections = {title_of(script): "" for script in scripts}
    if options.only is not None:
        scripts = [p for p in scripts if p.stem.removeprefix("bench_") in options.only]
        sections |= read_sections(options.output)
    for script in scripts:
        sections[title_of(script)] = "\n\n".join(part.strip() for part in run(script, options.output.parent))
        parts = [HEAD, machine_lines(), *(text for text in sections.values() if text)]
        atomic_write_text(options.output, "\n\n".join(parts) + "\n")
    print(f"Written: {options.output}")
    if failed := [title for title, text in sections.items() if f"{FAILED} " in text]:
        sys.exit(f"failed: {', '.join(failed)}")


HEAD = """# Benchmarks

Written by `make bench`, which overwrites changes made by hand.
The top of each script in `benchmarks/` explains what its tables show.
Machines differ: compare ratios within one table rather than seconds of two.
A GPU has a script of its own: `python benchmarks/gpu.py -h`."""


def title_of(script: Path) -> str:
    return script.stem.removeprefix("bench_").capitalize()


def read_sections(path: Path) -> dict[str, str]:
    """Return the sections of a file written earlier, by title."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return {part.split("\n", 1)[0].strip(): f"## {part.strip()}" for part in text.split("\n## ")[1:]}


def machine_lines() -> str:
    """Return lines that describe this machine by its features, never by a name."""
    facts, used = machine_facts(), versions()
    gpus = ", ".join(facts["gpus"]) or "none"
    return (
        f"Machine: {facts['cores']} cores ({facts['processor']}; {', '.join(facts['cpu_features']) or 'no vector features known'}), "
        f"{facts['threads']} torch threads, GPU: {gpus}.\nPython {used['python']}, torch {used['torch']}."
    )


def run(script: Path, folder: Path) -> list[str]:
    """Run one script and return its section: title, command, output, plots."""
    name = script.stem.removeprefix("bench_")
    arguments = SHORTER.get(script.stem, [])
    if name == "inpainter" and RELEASED.is_file():
        arguments = [str(RELEASED.relative_to(ROOT))]
    print(f"{script.stem} ...", flush=True)
    started = time.perf_counter()
    command = [sys.executable, str(script), *arguments]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_SECONDS)
        failed = f"failed: {done.stderr.strip().splitlines()[-1:]}" if done.returncode else ""
        printed = done.stdout.strip()
    except subprocess.TimeoutExpired:
        printed, failed = "", f"stopped after {LIMIT_SECONDS} s"
    seconds = time.perf_counter() - started
    print(f"{script.stem}: {seconds:.0f} s {failed}", flush=True)
    called = " ".join(["python", f"benchmarks/{script.name}", *arguments])
    section = [
        f"## {title_of(script)}",
        f"`{called}` took {seconds:.0f} s.",
        failed and f"{FAILED} {failed}**",
        printed,
    ]
    sizes = size_tables(printed)
    if sizes:
        picture = save_figure(plot(sizes), folder / "images" / f"bench_{name}.png")
        section.append(f"![Cost against size]({picture.relative_to(folder).as_posix()})")
    return [part for part in section if part]


def size_tables(text: str) -> dict[str, Table]:
    """Return the tables of `text` with columns ``size``, ``seconds`` and ``MiB``, by the line of words above each.

    The first row of a table is its head.
    """
    found: dict[str, Table] = {}
    title = ""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            title = line.strip().rstrip(":") or title
        elif cells[0] == "size":
            found[title] = [cells]
        elif title in found and cells[0].endswith("x") and cells[0][:-1].isdecimal():
            found[title].append(cells)
    return {name: table for name, table in found.items() if len(table) > 2 and {"seconds", "MiB"} <= set(table[0])}


def plot(tables: Mapping[str, Table]) -> Figure:
    """Plot seconds and MiB of all `tables` over size, relative to the smallest size; a linear cost is a dotted line."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for ax, column in zip(figure.subplots(1, 2), ("seconds", "MiB"), strict=True):
        sizes: list[int] = []
        for colour, (name, (head, *rows)) in zip(PALETTE, tables.items(), strict=False):
            if column in head:
                sizes = [int(row[0][:-1]) for row in rows]
                values = [float(row[head.index(column)]) for row in rows]
                ax.plot(sizes, [v / max(values[0], 1e-9) for v in values], "o-", color=colour, label=name)
        ax.plot(sizes, [size / sizes[0] for size in sizes], ":", color=QUIET, label="as the size")
        ax.set_xscale("log", base=2)
        ax.set_yscale("log", base=2)
        ax.set_xticks(sizes, [f"{size}x" for size in sizes])
        ax.set_title(f"{column}, relative to 1x", loc="left", color=INK, fontsize=11)
        ax.grid(color="#e3e6ea")
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


if __name__ == "__main__":
    main()
