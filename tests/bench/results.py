"""What a run has measured, as it is saved, and the arithmetic of it: medians, and ratios within a round.

Figures of two runs are never put beside each other: a machine is not the same twice. A run is one file, and one file is all that
a table or a picture is made of.
"""

import json
import os
import pathlib
import re
import statistics
import subprocess
import typing

from servers import MEMCACHED, REPOSITORY, Failure

FORMAT = 1


class Spread(typing.NamedTuple):
    """The median of some rounds, and the least and the most of them."""

    median: float
    least: float
    most: float


def spread(numbers):
    return Spread(statistics.median(numbers), min(numbers), max(numbers))


class Run:
    """All samples of one run: of each row and target one a round, each a dictionary of numbers."""

    def __init__(self, about, samples=None):
        """`about` is what the run is told apart by: date, machine and programs in words, rounds and seconds."""
        self.about, self.samples = about, samples or {}

    def add(self, row, target, sample):
        self.samples.setdefault(row, {}).setdefault(target, []).append(sample)

    def targets(self, row):
        return list(self.samples.get(row, {}))

    def of(self, row, target, name):
        """The spread of one number, or None where it was not measured."""
        samples = self.samples.get(row, {}).get(target)
        return spread([sample[name] for sample in samples]) if samples else None

    def _pairs(self, row, target, base, name):
        these, those = (self.samples.get(row, {}).get(of, []) for of in (target, base))
        if these and those and len(these) != len(those):
            raise Failure(f"{row}: {target} has {len(these)} rounds and {base} has {len(those)}: they were not measured together")
        return [(this[name], that[name]) for this, that in zip(these, those)]

    def ratio(self, row, target, base, name):
        """By how much it is more than the base of the same round, or None."""
        ratios = [this / that for this, that in self._pairs(row, target, base, name)]
        return spread(ratios) if ratios else None

    def added(self, row, target, base, name):
        """What it has more than the base of the same round, or None."""
        differences = [this - that for this, that in self._pairs(row, target, base, name)]
        return spread(differences) if differences else None

    def save(self, path):
        path.write_text(json.dumps({"format": FORMAT, "about": self.about, "samples": self.samples}, indent=1) + "\n")


def read(paths):
    """The run in the file: in one."""
    if len(paths) != 1:
        raise Failure(
            f"{len(paths)} files are {len(paths)} runs, and runs are not compared: "
            "measure in one run what is to be compared (--other)"
        )
    path = pathlib.Path(paths[0])
    try:
        saved = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Failure(f"{path}: {error}") from None
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise Failure(f"{path}: not a run of this benchmark, or of another version of it")
    return Run(saved["about"], saved["samples"])


def machine():
    """The machine in words."""
    processor = re.search(r"^model name\s*:\s*(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    model = re.sub(r"\((R|TM)\)", "", processor[1]) if processor else os.uname().machine
    memory = int(re.search(r"MemTotal:\s+(\d+) kB", pathlib.Path("/proc/meminfo").read_text())[1]) / (1 << 20)
    cores = len(os.sched_getaffinity(0))
    kernel = ".".join(os.uname().release.split(".")[:2])
    return f"{cores} core{'s' if cores > 1 else ''} of {model}, {memory:.0f} GiB, Linux {kernel}"


def version(command, pattern):
    said = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found = re.search(pattern, said.stdout)
    if not found:
        raise Failure(f"{' '.join(map(str, command))} does not say its version: {said.stdout.strip()[:200]}")
    return found[1]


def programs(magent):
    """The programs in words; of magent the commit as well, where it was built from this repository."""
    magent_version = version([magent, "-V"], r"(\d[\w.]*)")
    if not os.environ.get("MAGENT"):
        describe = ["git", "describe", "--always", "--dirty", "--abbrev=9"]
        said = subprocess.run(describe, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        magent_version += f" ({said.stdout.strip()})" if said.stdout.strip() else ""
    nutcracker_version = version(["nutcracker", "-V"], r"nutcracker-(\S+)")
    memcached_version = version([MEMCACHED, "-V"], r"memcached (\S+)")
    return f"magent {magent_version}, nutcracker {nutcracker_version}, memcached {memcached_version}"
