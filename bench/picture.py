"""The picture of a run: a panel of bars for each workload, as SVG, to be read on a light or a dark page. Must not measure.

Within a panel bars are to scale; beside each stands the figure and how many times Mailfilter's it is.
"""
from xml.sax.saxutils import escape

from .figures import OWN

# What does less than a mail server with a policy: shown paler.
REFERENCES = ("smtp-sink", "uvloop floor", "nginx stream", "nginx mail")

WIDTH, MARGIN, GAP = 1040, 24, 32
COLUMN = (WIDTH - 2 * MARGIN - GAP) // 2
NAME, BAR, ROW = 122, 210, 21
HEAD, TITLE, BELOW = 92, 26, 20

STYLE = """\
.page{fill:#fff}.strong{fill:#1f2328}.weak{fill:#59636e}.own{fill:#0969da}.peer{fill:#bc6b1c}.less{fill:#afb8c1}.line{stroke:#d1d9e0}
text{font:13px system-ui,"Segoe UI","DejaVu Sans",sans-serif}.title{font-weight:600}.head{font-size:19px;font-weight:600}
@media(prefers-color-scheme:dark){.page{fill:#0d1117}.strong{fill:#f0f6fc}.weak{fill:#9198a1}.own{fill:#4493f8}.peer{fill:#d9853b}
.less{fill:#5b636d}.line{stroke:#30363d}}"""


def drawn(figures):
    """The workloads that get a panel: those with a figure of ours and of somebody else, or two at least."""
    return [label for label, systems in figures.workloads.items()
            if sum(bool(figure.values) for figure in systems.values()) > 1]


def _kind(name):
    return "own" if name.startswith(OWN) else "less" if name in REFERENCES else "peer"


def _value(figure):
    value, unit = figure.value, figure.unit
    if unit == "µs" and value >= 10_000:
        value, unit = value / 1000, "ms"
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"


def _text(x, y, kind, text, more=""):
    return f'<text x="{x}" y="{y}" class="{kind}"{more}>{escape(text)}</text>'


def _panel(figures, label, x, y):
    """The elements of a panel whose upper left corner is there, and its height."""
    systems = {name: figure for name, figure in figures.workloads[label].items() if figure.values}
    most = max(figure.value for figure in systems.values()) or 1.0
    parts = [_text(x, y + 14, "strong title", label)]
    y += TITLE
    for name, figure in systems.items():
        length = max(1.5, BAR * figure.value / most)    # a figure about nothing may be below it
        ratio = figures.ratio(label, name) if name != OWN else None
        said = _value(figure) + (f" · {ratio:.2f} ×" if ratio is not None else "")
        bold = ' font-weight="600"' if name == OWN else ""
        parts += [
            _text(x + NAME - 8, y + 14, "strong" if name == OWN else "weak", name, ' text-anchor="end"' + bold),
            f'<rect x="{x + NAME}" y="{y + 3}" width="{length:.1f}" height="{ROW - 7}" rx="2" class="{_kind(name)}"/>',
            _text(x + NAME + round(length) + 7, y + 14, "strong" if name == OWN else "weak", said, bold)]
        y += ROW
    return parts, TITLE + ROW * len(systems) + BELOW


def draw(figures, circumstances):
    """The SVG of a run; circumstances: lines that say where and with what it was taken."""
    labels, y, parts = drawn(figures), HEAD + 16 * len(circumstances), []
    for left, right in zip(labels[::2], [*labels[1::2], None], strict=False):
        panel, height = _panel(figures, left, MARGIN, y)
        parts += panel
        if right is not None:
            panel, other = _panel(figures, right, MARGIN + COLUMN + GAP, y)
            parts, height = parts + panel, max(height, other)
        y += height
    height = y + MARGIN - BELOW
    head = [_text(MARGIN, 38, "strong head", "What it costs the server: CPU for each message, session or refusal")]
    head += [_text(MARGIN, 60 + 16 * place, "weak", line) for place, line in enumerate(circumstances)]
    y, x = 64 + 16 * len(circumstances), MARGIN
    for kind, words in (("own", "Mailfilter"), ("peer", "mail servers"), ("less", "do less: no policy, or no server")):
        head += [f'<rect x="{x}" y="{y - 10}" width="12" height="12" rx="2" class="{kind}"/>', _text(x + 18, y, "weak", words)]
        x += 40 + 8 * len(words)
    head.append(_text(x, y, "weak", "shorter is better; × is how many times Mailfilter's"))
    head.append(f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{y + 10}" y2="{y + 10}" class="line"/>')
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape('Mailfilter beside other SMTP servers')}</title>", f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" class="page"/>', *head, *parts, "</svg>", ""])
