"""What all figures look like, in a paper and on a page: sizes, text, colours, and how they are written to files.

A figure is as wide as a column of a paper or as its text, and goes into one as it is, with text of 8 to 9 points.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from memory_injections.checksums import is_intact

mpl.use("agg")

# Inches: a column and the whole text of a paper with two columns (ACL, NeurIPS and ICML differ by a few hundredths).
COLUMN, TEXT = 3.25, 6.75
STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.title_fontsize": 8,
    "figure.titlesize": 9,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3,
    "legend.frameon": False,
    # Fonts go into a PDF as TrueType, whose text can be searched and edited; some publishers refuse the default.
    "pdf.fonttype": 42,
    # Names of models, data sets and words are text: a dollar sign starts no formula.
    "text.parse_math": False,
}
# Dots of a PNG, and of what is drawn as an image in a PDF, per inch.
DPI = 300
COLORS = sns.color_palette("colorblind")
QUIET = "0.45"
# The key of the text in a PNG that says what it was drawn of.
MARK = "Source"


@contextmanager
def use_style() -> Iterator[None]:
    """Give every figure that is drawn within the look of this study."""
    with mpl.rc_context(STYLE):
        yield


def start_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches, whose parts find their places by themselves."""
    return Figure(figsize=(width, height), layout="constrained")


def start_panels(n: int, height: float, *, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    """Return a figure with panels of this height, in inches: one as wide as a column, or two beside each other."""
    n_columns = min(n, 2)
    n_rows = -(-n // n_columns)
    figure = start_figure(COLUMN if n == 1 else TEXT, height * n_rows + 0.4)
    panels = list(figure.subplots(n_rows, n_columns, squeeze=False, sharey=sharey).flat)
    for empty in panels[n:]:
        empty.remove()
    return figure, panels[:n]


def add_legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """Draw one legend below all panels, with what any of them shows."""
    shown = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    # As many side by side as there is room for: a line of text has about 17 characters to the inch.
    room = int(17 * figure.get_figwidth() / (max(map(len, shown)) + 5))
    n_rows = -(-len(shown) // min(room, len(shown)))
    figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=-(-len(shown) // n_rows))


def draw_note(text: str) -> Figure:
    """Draw a sentence in place of a figure."""
    figure = start_figure(COLUMN, 0.7)
    figure.text(0.5, 0.5, text, ha="center", va="center", color=QUIET, wrap=True)
    return figure


def save_figure(figure: Figure, png: Path, pdf: Path, mark: str) -> None:
    """Write a figure as PNG and as PDF, without the time of writing; `mark` says in the PNG what it was drawn of."""
    figure.savefig(pdf, dpi=DPI, metadata={"CreationDate": None})
    figure.set_layout_engine("none")  # its parts stay where they are: finding their places takes longer than drawing
    figure.savefig(png, dpi=DPI, metadata={MARK: mark})


def is_drawn(png: Path, pdf: Path, mark: str) -> bool:
    """Return whether both files are as `save_figure` wrote them with this mark, and finished by their job."""
    if not (is_intact(png) and is_intact(pdf)):
        return False
    with Image.open(png) as image:
        return image.info.get(MARK) == mark
