"""Messages whose senders are looked at: SPF, blocklists, DKIM, DMARC, all of it; see `bench.authentication`."""
from types import SimpleNamespace

from .. import authentication


def workload(what, known):
    """The workload's name in tables."""
    return f"sender: {authentication.WORDS[what]}, {'known to the DNS cache' if known else 'seen for the first time'}"


def measure(run):
    """What `bench.authentication` finds, as figures."""
    if "Mailfilter" not in run.peers:
        return
    rounds, number, alone = (1, 10, 2) if run.quick else (3, 500, 40) if run.long else (1, 60, 10)
    chosen = SimpleNamespace(rounds=rounds, messages=number, alone=alone)
    messages = authentication.Messages()
    with authentication.dns_serving(messages) as dns:
        found = authentication.measure_checks(chosen, messages, dns, run.say)
    for what, (fresh, known, lone, lone_known) in found.items():
        for values, waited, is_known in ((fresh, lone, False), (known, lone_known, True)):
            figure = run.figures.of(workload(what, is_known), "Mailfilter")
            figure.values.extend(values)
            waited = sorted(waited)
            figure.notes.append(f"the reply after {waited[len(waited) // 2]:.1f} ms, the DNS takes {authentication.DELAY_MS}")
