"""A run as tables of Markdown, aligned so that a terminal shows them as well."""

import rows

MIB = 1 << 20


def number(value, digits=None):
    """With as many digits as are of use: 0.123, 1.23, 12.3, 1,234."""
    if digits is None:
        size = abs(value)
        digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 or size == 0 else 3
    return f"{value:,.{digits}f}"


def with_range(spread, scale=1.0, digits=None):
    """`3.40 (3.31 - 3.62)`, or nothing where nothing was measured."""
    if spread is None:
        return ""
    median, least, most = (number(value / scale, digits) for value in spread)
    return f"{median} ({least} - {most})"


def table(header, lines):
    """The first cell of a line is left out where it is that of the line before."""
    shown, last = [], None
    for line in lines:
        shown.append(["" if line[0] == last else line[0], *line[1:]])
        last = line[0]
    widths = [max(len(line[at]) for line in (header, *shown)) for at in range(len(header))]

    def one(cells):
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |"

    return "\n".join([one(header), "| " + " | ".join("-" * width for width in widths) + " |", *map(one, shown)])


def lines_of(run, names, cells):
    """A line for each row and target that was measured: `cells(row, target)` is what follows these two."""
    return [[row, target, *cells(row, target)] for row in names for target in run.targets(row)]


def costs(run):
    def cells(row, target):
        ratio = run.ratio(row, target, "nutcracker", "cpu_us") if target != "nutcracker" else None
        line = [with_range(run.of(row, target, "cpu_us")), with_range(ratio, digits=2)]
        if has_other:
            this = target.replace("other", "magent")
            line.append(with_range(run.ratio(row, target, this, "cpu_us"), digits=3) if this != target else "")
        return [*line, with_range(run.of(row, target, "rate"), digits=0)]

    names = [*rows.COSTS, *rows.MIXES]
    has_other = any("other" in run.targets(row) for row in names)
    header = ["workload", "target", "CPU us", "CPU / nutcracker", *(["CPU / magent"] if has_other else []), "a second"]
    return table(header, lines_of(run, names, cells))


def latencies(run):
    def cells(row, target):
        here = [with_range(run.of(row, target, name), digits=0) for name in ("p50_us", "p99_us")]
        more = [None if target == "memcached" else run.added(row, target, "memcached", name) for name in ("p50_us", "p99_us")]
        return [*here, *(with_range(each, digits=0) for each in more)]

    header = ["workload", "target", "p50 us", "p99 us", "p50 added us", "p99 added us"]
    lines = lines_of(run, rows.LATENCY.values(), cells)
    return table(header, [line for line in lines if line[1] != "floor"])


def besides(run):
    names = ("p50_alone_us", "p50_beside_us", "p99_alone_us", "p99_beside_us")
    header = ["workload", "target", "p50 alone us", "p50 beside us", "p99 alone us", "p99 beside us"]

    def cells(row, target):
        return [with_range(run.of(row, target, name), digits=0) for name in names]

    return table(header, lines_of(run, rows.HEAVY, cells))


def memories(run):
    rest, large = [], []
    for target in run.targets(rows.AT_REST):
        start, one, many = (with_range(run.of(rows.AT_REST, target, f"{name}_bytes"), MIB) for name in ("start", "one", "many"))
        rest.append([target, start, one, many, with_range(run.of(rows.AT_REST, target, "connection_bytes"), digits=0)])
    for target in run.targets(rows.AFTER_LARGE):
        names = ("before", "peak", "after", "kept")
        large.append([target, *(with_range(run.of(rows.AFTER_LARGE, target, f"{name}_bytes"), MIB) for name in names)])
    many = f"MiB, {rows.CONNECTIONS:,} idle connections"
    parts = [table(["target", "MiB at the start", "MiB, one client", many, "bytes a connection"], rest)] if rest else []
    parts += [table(["target", "MiB before", "MiB at the most", "MiB after", "MiB more than before"], large)] if large else []
    return "\n\n".join(parts)


def growths(run):
    names = [rows.growth_name(what, count) for what, growth in rows.GROWTHS.items() for count in growth.values]

    def cells(row, target):
        numbers = (("cpu_us", None), ("rate", 0), ("p99_us", 0))
        return [with_range(run.of(row, target, name), digits=digits) for name, digits in numbers]

    header = ["workload", "target", "CPU us", "a second", "p99 us"]
    return table(header, lines_of(run, names, cells))


def shared_ports(run):
    def cells(row, target):
        return [with_range(run.of(row, target, "rate"), digits=0), with_range(run.of(row, target, "cpu_us"))]

    return table(["workload", "target", "requests/s", "CPU us"], lines_of(run, rows.PROCESSES.values(), cells))


# What is written above each, and which rows it is made of.
SECTIONS = (
    ("CPU a request; a key, where a get has many", ("cost", "mix"), costs),
    ("What clients wait, and by how much that is more than straight at memcached", ("cost",), latencies),
    ("What one client waits alone, and beside another one that asks for much", ("beside",), besides),
    ("Memory", ("memory",), memories),
    ("Growth", ("growth",), growths),
    ("Several processes on one port", ("processes",), shared_ports),
)


def everything(run):
    about = run.about
    parts = [
        f"{about['date']}, {about['machine']}; {about['programs']}; {about['rounds']} rounds of {about['seconds']:g} s, "
        f"load of the machine before {about['load_before']:.2f}. Medians, and the least and the most of the rounds."
    ]
    if about["repeated"]:
        parts.append(f"Measurements that were disturbed, and repeated: {about['repeated']}.")
    measured = {row.group for row in rows.rows(has_other=True) if run.targets(row.name)}
    for title, groups, make in SECTIONS:
        if measured & set(groups):
            text = make(run)
            # Some of a group's rows may be in another table.
            if text.count("\n") > 1:
                parts.append(f"## {title}\n\n{text}")
    return "\n\n".join(parts) + "\n"
