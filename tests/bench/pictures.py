"""The pictures of a run: SVG by hand, for a light page and a dark one, with units in words."""

import math
from xml.sax.saxutils import escape

import rows
from results import Spread

MIB = 1 << 20
WIDTH = 760
LEFT, RIGHT, TOP, BOTTOM = 20, 30, 96, 52
LABEL_WIDTH = 190
BAR, GAP = 13, 12
PLOT_HEIGHT = 300
# What a character of the small text is wide, more or less: where text ends is not known without a font.
LETTER = 7.0
# Each target's colour on a light page and on a dark one, and its mark.
COLOURS = {
    "floor": ("#8c959f", "#8b949e", "circle"),
    "memcached": ("#8250df", "#a98bf5", "triangle"),
    "nutcracker": ("#c4661f", "#e58a3c", "square"),
    "magent": ("#0f6fb8", "#4aa8ee", "diamond"),
    "magent -b": ("#1a8a4a", "#43c678", "cross"),
    "other": ("#b3246b", "#f06ba8", "circle"),
    "other -b": ("#7d6608", "#cfae2b", "square"),
}


def style():
    def rules(at):
        return " ".join(f".c{n} {{ fill: {colour[at]}; stroke: {colour[at]}; }}" for n, colour in enumerate(COLOURS.values()))

    return (
        "<style>text { font: 12px sans-serif; fill: #1f2328; stroke: none; } .title { font: bold 16px sans-serif; } "
        ".quiet { fill: #59636e; } .grid { stroke: #d1d9e0; } .range { stroke: #1f2328; fill: none; } "
        f".line {{ fill: none; stroke-width: 2; }} {rules(0)} "
        "@media (prefers-color-scheme: dark) { text { fill: #f0f6fc; } .quiet { fill: #9198a1; } .grid { stroke: #3d444d; } "
        f".range {{ stroke: #f0f6fc; }} {rules(1)} .line {{ fill: none; }} }} .line {{ fill: none; }}</style>"
    )


def colour(target):
    return f"c{list(COLOURS).index(target)}"


def text(x, y, words, anchor="start", kind="", more=""):
    classes = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{classes}{more}>{escape(words)}</text>'


def line(x1, y1, x2, y2, kind):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def mark(target, x, y, size=4.0):
    kind, named = COLOURS[target][2], colour(target)
    if kind == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size}" class="{named}"/>'
    corners = {
        "square": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
        "diamond": [(0, -1.4), (1.4, 0), (0, 1.4), (-1.4, 0)],
        "triangle": [(0, -1.3), (1.2, 1), (-1.2, 1)],
        "cross": [(-1.2, -0.4), (-0.4, -0.4), (-0.4, -1.2), (0.4, -1.2), (0.4, -0.4), (1.2, -0.4),
                  (1.2, 0.4), (0.4, 0.4), (0.4, 1.2), (-0.4, 1.2), (-0.4, 0.4), (-1.2, 0.4)],
    }[kind]
    points = " ".join(f"{x + dx * size:.1f},{y + dy * size:.1f}" for dx, dy in corners)
    return f'<polygon points="{points}" class="{named}"/>'


def number(value):
    """A short number for a picture: 0.75, 7.5, 75, 7,500."""
    if value == 0:
        return "0"
    digits = max(0, 1 - math.floor(math.log10(abs(value)))) if abs(value) < 10 else 0
    shown = f"{value:,.{digits}f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def steps(most, count=5):
    """From 0 to at least the most, in steps of 1, 2 or 5."""
    rough = (most or 1) / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    return [step * n for n in range(math.ceil(most / step * 0.999) + 1)] if most else [0, 1]


def document(height, title, about, targets, body):
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}"',
        'role="img">',
        f"<title>{escape(title)}</title>",
        style(),
        text(LEFT, 26, title, kind="title"),
        text(LEFT, 44, f"{about['date']}, {about['machine']}; median, least and most of {about['rounds']} rounds", kind="quiet"),
        text(LEFT, 60, about["programs"], kind="quiet"),
    ]
    x = LEFT + 5
    for target in targets:
        head += [mark(target, x, 78), text(x + 10, 82, target)]
        x += 10 + LETTER * len(target) + 28
    return "\n".join([*head, *body, "</svg>"]) + "\n"


def bars(title, about, unit, groups):
    """`groups` are pairs of a label and of what its bars show: pairs of a target and a Spread."""
    most = max(value.most for _, shown in groups for _, value in shown)
    ticks = steps(most)
    begin, width = LEFT + LABEL_WIDTH, WIDTH - LEFT - LABEL_WIDTH - RIGHT - 50
    bottom = TOP + sum(len(shown) * BAR + GAP for _, shown in groups)

    def at(value):
        return begin + width * max(0.0, value) / ticks[-1]

    body = []
    for tick in ticks:
        body += [line(at(tick), TOP, at(tick), bottom, "grid"), text(at(tick), bottom + 16, number(tick), "middle", "quiet")]
    y = TOP + GAP / 2
    for label, shown in groups:
        body.append(text(begin - 8, y + len(shown) * BAR / 2 + 4, label, "end"))
        for target, value in shown:
            end, middle = at(value.median), y + BAR / 2
            size = f'width="{max(1.0, end - begin):.1f}" height="{BAR - 2}"'
            body.append(f'<rect x="{begin}" y="{y + 1}" {size} class="{colour(target)}"/>')
            body.append(line(at(value.least), middle, at(value.most), middle, "range"))
            body.append(text(max(end, at(value.most)) + 5, middle + 4, number(value.median), kind="quiet"))
            y += BAR
        y += GAP
    body.append(text(begin + width / 2, bottom + 36, unit, "middle"))
    targets = [target for target in COLOURS if any(target == of for _, shown in groups for of, _ in shown)]
    return document(bottom + BOTTOM, title, about, targets, body)


def curves(title, about, x_label, y_label, series):
    """`series` are pairs of a target and of its points, which are pairs of a number and a Spread. Both axes are logarithmic."""
    xs = sorted({x for _, points in series for x, _ in points})
    ys = [value for _, points in series for _, spread in points for value in spread]
    low, high = math.floor(math.log10(min(ys)) * 2) / 2, math.ceil(math.log10(max(ys)) * 2) / 2
    high = max(high, low + 0.5)
    left, right, bottom = LEFT + 60, WIDTH - RIGHT - 20, TOP + PLOT_HEIGHT
    span = math.log10(xs[-1] / xs[0]) or 1

    def x_of(x):
        return left + (right - left) * math.log10(x / xs[0]) / span

    def y_of(y):
        return bottom - PLOT_HEIGHT * (math.log10(y) - low) / (high - low)

    body = []
    for power in range(math.floor(low), math.ceil(high) + 1):
        for factor in (1, 2, 5):
            tick = factor * 10.0**power
            if low - 1e-9 <= math.log10(tick) <= high + 1e-9:
                y = y_of(tick)
                body += [line(left, y, right, y, "grid"), text(left - 8, y + 4, number(tick), "end", "quiet")]
    for x in xs:
        body += [line(x_of(x), TOP, x_of(x), bottom, "grid"), text(x_of(x), bottom + 16, f"{x:,}", "middle", "quiet")]
    for target, points in series:
        path = " ".join(f"{x_of(x):.1f},{y_of(value.median):.1f}" for x, value in points)
        body.append(f'<polyline points="{path}" class="{colour(target)} line"/>')
        for x, value in points:
            body.append(line(x_of(x), y_of(value.least), x_of(x), y_of(value.most), colour(target)))
            body.append(mark(target, x_of(x), y_of(value.median)))
    middle = TOP + PLOT_HEIGHT / 2
    body.append(text((left + right) / 2, bottom + 38, x_label, "middle"))
    body.append(text(LEFT + 8, middle, y_label, "middle", more=f' transform="rotate(-90 {LEFT + 8} {middle})"'))
    return document(bottom + BOTTOM, title, about, [target for target, _ in series], body)


def groups_of(run, names, number_name, scale=1.0):
    """Of each row that was measured, what its targets took."""
    groups = []
    for label, row in names:
        shown = [(target, run.of(row, target, number_name)) for target in COLOURS if target in run.targets(row)]
        if shown:
            groups.append((label, [(target, Spread(*(part / scale for part in value))) for target, value in shown]))
    return groups


def cost_pictures(run):
    names = [(name, name) for name in (*rows.COSTS, *rows.MIXES)]
    groups = groups_of(run, names, "cpu_us")
    if groups:
        unit = "microseconds of CPU a request; a key, where a get has many"
        yield "cost", bars("What a request costs", run.about, unit, groups)
    ratios = []
    for label, row in names:
        shown = [(target, run.ratio(row, target, "nutcracker", "cpu_us")) for target in COLOURS if target in run.targets(row)]
        if any(value for _, value in shown):
            ratios.append((label, [(target, value) for target, value in shown if value and target != "memcached"]))
    if ratios:
        unit = "CPU a request, as a multiple of nutcracker's"
        yield "ratio", bars("What a request costs beside nutcracker", run.about, unit, ratios)


def latency_pictures(run):
    for clients, row in rows.LATENCY.items():
        groups = []
        for name, label in (("p50", "50th percentile"), ("p99", "99th percentile")):
            shown = [
                (target, run.added(row, target, "memcached", f"{name}_us"))
                for target in COLOURS if target in run.targets(row) and target not in ("floor", "memcached")
            ]
            shown = [(target, value) for target, value in shown if value]
            if shown:
                groups.append((label, shown))
        if groups:
            whose = f"{clients} client{'s' if clients > 1 else ''}"
            title = f"How much longer {'each of ' if clients > 1 else ''}{whose} waits than straight at memcached"
            yield f"latency-{whose.replace(' ', '-')}", bars(title, run.about, "microseconds added", groups)
    groups = []
    for row in rows.HEAVY:
        for when in ("alone", "beside"):
            groups += groups_of(run, [(row if when == "beside" else "alone", row)], f"p99_{when}_us")
    if groups:
        yield "beside", bars("What one client waits beside another", run.about, "microseconds, 99th percentile", groups)


def memory_pictures(run):
    rest = [("at the start", "start"), ("with one client", "one"), (f"{rows.CONNECTIONS:,} idle connections", "many")]
    groups = [group for label, name in rest for group in groups_of(run, [(label, rows.AT_REST)], f"{name}_bytes", MIB)]
    if groups:
        yield "memory", bars("Memory at rest", run.about, "MiB resident", groups)
    large = [("before", "before"), ("at the most", "peak"), ("after", "after")]
    groups = [group for label, name in large for group in groups_of(run, [(label, rows.AFTER_LARGE)], f"{name}_bytes", MIB)]
    if groups:
        title = f"Memory before, while and after {rows.LARGE_CLIENTS} clients ask for 1 MB each"
        yield "memory-large", bars(title, run.about, "MiB resident", groups)


def growth_pictures(run):
    for what, growth in rows.GROWTHS.items():
        series = []
        for target in COLOURS:
            points = [(count, run.of(rows.growth_name(what, count), target, "cpu_us")) for count in growth.values]
            points = [(count, value) for count, value in points if value]
            if points:
                series.append((target, points))
        if series:
            title, name = f"What a get costs, by {what} ({growth.words})", f"growth-{what.replace(' ', '-')}"
            yield name, curves(title, run.about, f"{what}, logarithmic", "microseconds of CPU a request, logarithmic", series)


def process_pictures(run):
    groups = groups_of(run, [(name, name) for name in rows.PROCESSES.values()], "rate", 1000)
    if groups:
        yield "processes", bars("Several magents on one port", run.about, "thousands of requests a second", groups)


def everything(run):
    """Pairs of a name and a picture: those that something was measured for."""
    for make in (cost_pictures, latency_pictures, memory_pictures, growth_pictures, process_pictures):
        yield from make(run)
