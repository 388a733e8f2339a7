"""Times attnbench's library, ONNX Runtime and PyTorch side by side, on the same data, with the same threads, in turn.

Exit: 0 all results are right; 1 one is wrong; 2 bad usage, or nothing could run; 3 interrupted, the finished cases are shown.
"""
import argparse
import datetime
import gc
import os
import sys
import textwrap
import time
from dataclasses import asdict, dataclass, field

import machine
import report

BASELINE = "attn"
SYSTEMS = (BASELINE, "onnxruntime", "torch", "torch-flex")
WARM_UP_ROUNDS = 2
LEAST_ROUNDS = 7  # the fewest that have an interval of 95 % with some room: 6 would do
QUICK_DIVISOR = 8


@dataclass
class Entry:
    """What a system did with a case."""
    version: str = ""
    setting: str = ""
    skipped: str = ""
    seconds: list = field(default_factory=list)
    error: float = 0.0
    valid: bool = True


@dataclass
class Outcome:
    """A case with an entry of each system."""
    case: object
    tolerance: float
    rounding: float
    others: float  # share of the machine's processor time that others had during the rounds; None where unknown
    entries: dict

    def ran(self):
        return [(name, entry) for name, entry in self.entries.items() if not entry.skipped]

    def ratios(self, name):
        """Paired with attn; None without attn, and for attn itself."""
        ran = dict(self.ran())
        if name == BASELINE or name not in ran or BASELINE not in ran:
            return None
        return report.paired_ratios(ran[name].seconds, ran[BASELINE].seconds)

    def requirement(self):
        """(bound, words) of attn's error: float32 as exact as PyTorch, 16 bits within twice what rounding costs."""
        if self.case.dtype != "float32":
            return 2 * self.rounding, "2 x rounded"
        torch = dict(self.ran()).get("torch")
        return torch.error if torch else None, "torch's"

    def record(self):
        """For JSON."""
        systems = {name: asdict(entry) for name, entry in self.entries.items()}
        for name, system in systems.items():
            ratios = self.ratios(name)
            if ratios is not None:
                system["ratio"] = dict(zip(("median", "lo", "hi", "coverage"), report.median_interval(ratios)))
        return dict(asdict(self.case), kv_seq=self.case.keys, name=self.case.name, flops=self.case.flops,
                    bytes=self.case.bytes, tolerance=self.tolerance, rounding_error=self.rounding, others=self.others, systems=systems)


def read_options():
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog=__doc__.splitlines()[2])
    parser.add_argument("--library", required=True, metavar="FILE", help="attn_peer.so of a build")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="comma list of %(default)s")
    parser.add_argument("--case", default="", metavar="WORDS",
                        help="only cases whose names hold all these words, as in 'forward float32 D128'")
    parser.add_argument("--kernel", default="auto", help="attn's kernel (default: the fastest)")
    parser.add_argument("--threads", type=int, default=cores,
                        help="of each system (default: the allowed cores, here %(default)s)")
    parser.add_argument("--rounds", type=int, default=21, help="at most so many a case (default %(default)s)")
    parser.add_argument("--max-time", type=float, default=30, metavar="S",
                        help=f"no new round of a case after so many seconds, once there are {LEAST_ROUNDS} "
                             "(default %(default)s)")
    parser.add_argument("--quick", action="store_true",
                        help=f"{LEAST_ROUNDS} rounds, lengths divided by {QUICK_DIVISOR}: a check, no comparison")
    parser.add_argument("--seed", type=int, default=0, help="of the data (default %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write everything, with all times")
    parser.add_argument("--csv", metavar="FILE", help="write all times, one a line")
    given = parser.parse_args()
    given.systems = given.systems.split(",")
    for name in given.systems:
        if name not in SYSTEMS:
            parser.error(f"--systems {name}: {', '.join(SYSTEMS)} are accepted")
    for name in ("threads", "rounds"):
        if getattr(given, name) < 1:
            parser.error(f"--{name} {getattr(given, name)}: at least 1 is accepted")
    given.divisor = QUICK_DIVISOR if given.quick else 1
    given.rounds = min(given.rounds, LEAST_ROUNDS) if given.quick else given.rounds
    return given


def set_threads(threads):
    """Before any runtime is loaded. Threads that wait asleep do not disturb the system whose turn it is. A thread that
    OpenMP binds hands its one core to all threads that it starts, which would be those of the other systems."""
    os.environ["OMP_WAIT_POLICY"] = "passive"
    os.environ["OMP_PROC_BIND"] = "false"
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)


def make_systems(given):
    """By name: the system, or why it is missing. PyTorch is first: attn then runs on the OpenMP that it brought."""
    import systems

    makers = {"torch": lambda: systems.Torch(given.threads), "torch-flex": lambda: systems.TorchFlex(given.threads),
              "onnxruntime": lambda: systems.OnnxRuntime(given.threads),
              BASELINE: lambda: systems.Attn(given.library, given.kernel, given.threads)}
    made = {}
    for name, make in makers.items():
        if name in given.systems:
            try:
                made[name] = make()
            except systems.Skipped as reason:
                made[name] = str(reason)
    return {name: made[name] for name in SYSTEMS if name in made}


def prepare(case, data, made):
    """(entries, runners) by name."""
    from systems import Skipped

    entries, runners = {}, {}
    for name, system in made.items():
        if name == "torch-flex" and not case.window:
            continue
        entries[name] = Entry()
        if isinstance(system, str):
            entries[name].skipped = system
            continue
        entries[name].version = system.version
        try:
            runners[name] = system.prepare(case, data)
            entries[name].setting = runners[name].setting
        except Skipped as reason:
            entries[name].skipped = str(reason)
    return entries, runners


def take_turns(runners, entries, given):
    """Rounds: each system once, always in the same order. Gives the share of the machine that others had meanwhile."""
    from systems import timed

    for _ in range(WARM_UP_ROUNDS):
        for runner in runners.values():
            timed(runner)
    gc.collect()
    gc.disable()
    load = machine.Load()
    end = time.monotonic() + given.max_time
    for turn in range(given.rounds):
        if turn >= LEAST_ROUNDS and time.monotonic() > end:
            break
        for name, runner in runners.items():
            entries[name].seconds.append(timed(runner))
    gc.enable()
    return load.of_others()


def measure(case, made, given):
    import cases
    import reference

    data = cases.make_data(case, given.seed)
    entries, runners = prepare(case, data, made)
    try:
        others = take_turns(runners, entries, given)
        want = reference.attention(case, data)
        outcome = Outcome(case, reference.tolerance(case, want), reference.rounding_error(case, want), others, entries)
        for name, runner in runners.items():
            got = runner.results()
            error = max(reference.largest_error(got[array], want[array]) for array in reference.result_names(case))
            lse_error = reference.largest_error(got["lse"], want["lse"]) if "lse" in got else 0
            entries[name].error = error
            entries[name].valid = max(error, lse_error) <= outcome.tolerance
    finally:
        for runner in runners.values():
            runner.close()
    return outcome


def describe(given, made):
    return {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "processor": machine.processor(), "cores": sorted(os.sched_getaffinity(0)), "threads": given.threads,
            "seed": given.seed, "warm_up_rounds": WARM_UP_ROUNDS, "length_divisor": given.divisor,
            "openmp_runtimes": machine.openmp_runtimes(),
            "systems": {name: system if isinstance(system, str) else system.version for name, system in made.items()},
            "method": "each round runs every system once, always in the same order; ratio: time of a system / time of "
                      "attn in the same round; interval: two order statistics that cover the median with 95 %"}


def print_header(header):
    systems = ", ".join(f"{name} {version}" for name, version in header["systems"].items() if name != "torch-flex")
    lines = [f"{systems}; {header['threads']} threads each, on {len(header['cores'])} cores of {header['processor']}; "
             f"OpenMP: {', '.join(header['openmp_runtimes']) or 'none found'}",
             "B 1, Hq 8, Hkv 8 where not said; time: median over rounds, each of which runs every system once, in the "
             "order of the rows; ratio: time of the system / time of attn in the same round, median over rounds (above 1: "
             "attn is faster); [lo, hi] covers the median with 95 % (order statistics); others: share of this machine's "
             "processor time that other processes had"]
    if header["length_divisor"] != 1:
        lines.append("quick: short lengths and few rounds: a check of the results, no comparison")
    for line in lines:
        print(textwrap.fill(line, 120))


def print_outcomes(outcomes):
    """The tables; whether all results are right."""
    ran = [entry for outcome in outcomes for _, entry in outcome.ran()]
    present = [name for name in SYSTEMS if any(name in dict(outcome.ran()) for outcome in outcomes)]
    valid = sum(entry.valid for entry in ran)
    print("", *report.table(report.time_rows(outcomes), ("rounds", "median ms", "rate", "ratio", "others")), "",
          "largest |got - want| / (1 + |want|) over all rows, want in float64; rounded: of want in the case's type",
          *report.table(report.accuracy_rows(outcomes, present), (*present, "rounded", "tolerance")), "", sep="\n")
    print(*report.note_lines(outcomes), sep="\n")
    print(f"VALID: {valid} of {len(ran)} results")
    return valid == len(ran)


def main():
    given = read_options()
    set_threads(given.threads)
    try:
        import cases
    except ImportError as error:
        return refuse(f"needs the Python package numpy ({error})")
    chosen = [cases.shortened(case, given.divisor) for case in cases.all_cases()]
    chosen = [case for case in chosen if set(given.case.split()) <= set(case.name.split())]
    if not chosen:
        return refuse(f"--case '{given.case}': no case has all these words in its name")
    try:
        made = make_systems(given)
    except (OSError, AttributeError) as error:
        return refuse(f"--library {given.library}: {error}")
    if all(isinstance(system, str) for system in made.values()):
        return refuse("nothing can run: " + "; ".join(f"{name} {reason}" for name, reason in made.items()))
    header = describe(given, made)
    print_header(header)
    outcomes = []
    interrupted = False
    try:
        for count, case in enumerate(chosen):
            print(f"peers: {count + 1} of {len(chosen)}: {case.name}", file=sys.stderr)
            outcomes.append(measure(case, made, given))
    except KeyboardInterrupt:
        interrupted = True
        print(f"peers: interrupted after {len(outcomes)} of {len(chosen)} cases", file=sys.stderr)
    right = print_outcomes(outcomes)
    if given.json:
        report.write_json(given.json, header, outcomes)
    if given.csv:
        report.write_csv(given.csv, outcomes)
    if not any(outcome.ran() for outcome in outcomes):
        return refuse("nothing could run; the reasons are above")
    if not right:
        return 1
    return 3 if interrupted else 0


def refuse(message):
    print(f"peers: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
