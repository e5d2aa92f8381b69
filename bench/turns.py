"""Systems in turns: whatever else the machine does hits all of them alike. Counts at the next hop what a proxy has passed on."""
import time

from . import cpu, talk
from .figures import Figure

COUNT_S = 10.0
WARM = 1500             # messages before anything is measured: a compiler at run time needs that many


class Job:
    """One workload on one system: what is played to it, and how often."""

    def __init__(self, workload, system, figure: Figure, kind="message", *, length=4096, kept=False, rate=0.0, at_once=20,
                 taken=None, warm=WARM, seconds=None):
        self.workload, self.system, self.figure, self.taken, self.warm, self.seconds = (
            workload, system, figure, taken, warm, seconds)
        self.number, self.rate = 0, rate
        self.options = {"kind": kind, "length": length, "kept": kept, "rate": rate, "at_once": at_once, "timed": bool(rate)}

    def play(self, number):
        """An Outcome and the server's CPU seconds."""
        before, count = cpu.settled_cpu_seconds(self.system.pid), self.taken() if self.taken else 0
        outcome = talk.play(self.system.port, number=number, **self.options)
        used = cpu.settled_cpu_seconds(self.system.pid) - before
        if self.taken:
            end = time.monotonic() + COUNT_S
            while (there := self.taken() - count) != outcome.messages:
                if time.monotonic() > end:
                    raise talk.LoadFailed(f"{outcome.messages} messages were taken, {there} reached the next hop")
                time.sleep(0.01)
        return outcome, used

    def prepare(self, seconds):
        """Warm up, and find out how many make so many seconds."""
        if self.rate:
            self.number = max(1, int(self.rate * (self.seconds or seconds)))
            self.play(max(1, int(self.rate * 0.5)))
            return
        least = 3 if self.options["length"] > 65536 else 20
        outcome, _ = self.play(max(least, min(self.warm, int(self.warm * seconds))))
        self.number = int(max(least, outcome.messages / outcome.wall * (self.seconds or seconds)))

    def sample(self):
        """Play, and add a sample to the figure."""
        outcome, used = self.play(self.number)
        figure = self.figure
        figure.values.append(used / outcome.messages * 1e6)
        figure.per_second.append(outcome.messages / outcome.wall)
        figure.load_us.append(outcome.cpu / outcome.messages * 1e6)
        if outcome.seconds:
            figure.latency.append((outcome.ms(.5), outcome.ms(.99), outcome.ms(.999)))


def take(run, jobs):
    """Every job in turns, `run.rounds` times. One that fails is left out from then on, and named in the figures."""
    alive = list(jobs)
    for round_ in range(run.rounds + 1):
        for job in list(alive):
            name = f"{job.workload}: {job.system.name}"
            run.say(f"round {round_} of {run.rounds} - {name}" if round_ else f"warming up - {name}")
            try:
                if round_:
                    job.sample()
                else:
                    job.prepare(run.seconds)
            except talk.LoadFailed as error:
                alive.remove(job)
                run.figures.failed.append((job.workload, job.system.name, str(error)))
