"""Rate-distortion curves as PNG: measured ones drawn through, published ones dashed."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from intaglio.results import Mean, PublishedPoint

# Mostly Okabe and Ito's colours, which people who see fewer colours can tell apart; the codec of this project is black.
COLOURS = ("#000000", "#E69F00", "#A6761D", "#009E73", "#0072B2", "#D55E00", "#CC79A7", "#882255")
_PUBLISHED = ("#7F7F7F", "#56B4E9", "#B2ABD2", "#B3DE69")
_MOST_BPP = 2.5
_AXES = {"psnr": "PSNR over RGB (dB)", "ms_ssim_db": "MS-SSIM (dB)", "ssimulacra2": "SSIMULACRA2"}


def plot(
    title: str,
    metric: str,
    means: Sequence[Mean],
    labels: Mapping[str, str],
    published: Mapping[str, Sequence[PublishedPoint]],
) -> bytes:
    """Mean curves over bits per pixel; `labels` names the codecs to draw, in order; `published` by label."""
    figure = Figure(figsize=(8, 5.5), dpi=110)
    axes = figure.subplots()
    tops = []
    for colour, (codec, label) in zip(COLOURS, labels.items(), strict=False):
        points = [(mean.bpp, getattr(mean, metric)) for mean in means if mean.codec == codec]
        tops += [value for bpp, value in points if bpp <= _MOST_BPP]
        width = 2.6 if codec == "intaglio" else 1.3
        axes.plot(*zip(*points, strict=True), "o-", color=colour, markersize=3, linewidth=width, label=label)
    for colour, (label, points) in zip(_PUBLISHED, published.items(), strict=False):
        shown = [(point.bpp, point.psnr) for point in points]
        axes.plot(*zip(*shown, strict=True), "--", color=colour, linewidth=1.2, label=f"{label} (published)")
    ordered = sorted(tops)
    axes.set(xlim=(0, _MOST_BPP), ylim=(ordered[len(ordered) // 25] - 1, ordered[-1] + 1), title=title)
    axes.set(xlabel="bits per pixel (whole file)", ylabel=_AXES[metric])
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
    out = io.BytesIO()
    figure.savefig(out, format="png", bbox_inches="tight")
    return out.getvalue()
