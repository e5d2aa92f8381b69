"""What a run has found: for each workload and system the samples of the rounds. Knows nothing of how they were taken."""
import statistics

OWN = "Mailfilter"


class Figure:
    """The samples of one workload on one system, one for each round.

    values: the figure itself, in `unit` (µs of server CPU, KiB, ms). per_second, load_us: messages or sessions in a second of
    wall time, and the load generator's own CPU for each. latency: milliseconds (p50, p99, p99.9). notes: what a reader must know.
    """

    def __init__(self, unit):
        self.unit = unit
        self.values, self.per_second, self.load_us, self.latency, self.notes = [], [], [], [], []

    @property
    def value(self):
        return statistics.median(self.values)

    def ms(self, place):
        """Median over the rounds of one of the latencies."""
        return statistics.median(sample[place] for sample in self.latency)


class Figures:
    """All that a run has found, in the order in which it was first asked for."""

    def __init__(self):
        self.workloads = {}             # label: {system: Figure}
        self.failed = []                # (workload, system, why)
        self.lines = {}                 # what is not a workload: {name: text}, of the parts that are timed alone

    def of(self, workload, system, unit="µs"):
        """The Figure of a workload and a system, made when it is not there."""
        return self.workloads.setdefault(workload, {}).setdefault(system, Figure(unit))

    def get(self, workload, system=OWN):
        """The Figure, or None where there is no sample."""
        figure = self.workloads.get(workload, {}).get(system)
        return figure if figure is not None and figure.values else None

    def ratio(self, workload, system, to=OWN):
        """Median over the rounds of how many times the figure of `to` that of `system` is; None where one is missing."""
        one, other = self.get(workload, system), self.get(workload, to)
        if one is None or other is None or min(one.values) <= 0 or min(other.values) <= 0:
            return None                 # nothing that can be measured is no measure
        if len(one.values) == len(other.values):
            return statistics.median(a / b for a, b in zip(one.values, other.values, strict=True))
        return one.value / other.value
