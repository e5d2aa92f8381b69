"""Sessions that are refused: at connect, at RCPT, after the message; and a flood of 20,000 a minute beside messages accepted."""
from .. import turns

STEPS = {"connect": "refused at connect", "rcpt": "refused at RCPT", "data": "refused after the message"}
FLOOD = 20_000 / 60
ACCEPTED = "flood of 20,000 a minute, smtp-sink accepting each message"


def flooded(step):
    """The workload's name in tables."""
    return f"flood of 20,000 a minute, {STEPS[step]}"


def measure(run):
    """As fast as it goes, then as a flood at a steady rate."""
    seconds = 10.0 if run.long else 0.3 if run.quick else 1.0
    for step in STEPS:
        with run.systems(f"refuse-{step}") as running:
            jobs = [turns.Job(STEPS[step], system, run.figures.of(STEPS[step], name), step)
                    for name, system in running.items()]
            turns.take(run, jobs)
    with run.systems("refuse-connect") as connect, run.systems("refuse-rcpt") as rcpt, run.systems("discard") as taking:
        jobs = [turns.Job(flooded(step), system, run.figures.of(flooded(step), name), step, rate=FLOOD, seconds=seconds)
                for step, running in (("connect", connect), ("rcpt", rcpt)) for name, system in running.items()
                if run.long or name.startswith("Mailfilter")]
        if "smtp-sink" in taking:
            jobs.append(turns.Job(ACCEPTED, taking["smtp-sink"], run.figures.of(ACCEPTED, "smtp-sink"), rate=FLOOD,
                                  seconds=seconds))
        turns.take(run.with_rounds(2 if run.long else 1), jobs)
