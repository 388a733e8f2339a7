"""Medians with their intervals, and the tables and files that show them."""
import csv
import json
from math import comb


def median(values):
    values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def median_interval(values, level=0.95):
    """(median, lo, hi, coverage). The k-th smallest and the k-th largest of n independent values cover the median of
    where they come from with probability 1 - 2 P(Bin(n, 1/2) < k); k is the largest for which that is at least the
    level, else 1 (David and Nagaraja, Order Statistics, 3rd edition, section 7.1). As attn_median_interval."""
    values, n = sorted(values), len(values)

    def coverage(k):
        return 1 - 2 * sum(comb(n, j) for j in range(k)) / 2 ** n

    k = max((k for k in range(1, (n + 1) // 2 + 1) if coverage(k) >= level), default=1)
    return median(values), values[k - 1], values[n - k], coverage(k)


def paired_ratios(times, baseline):
    """Time of a system / time of the baseline in the same round."""
    return [one / other for one, other in zip(times, baseline)]


def number(x, digits=4):
    """With so many significant digits at least, without an exponent."""
    return f"{x:.{max(0, digits - len(str(int(abs(x)))))}f}"


def interval(lo, hi, digits=4):
    return f"[{number(lo, digits)}, {number(hi, digits)}]"


def table(rows, right=()):
    """Lines of columns; the first row has the names. Columns named in right stand to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]

    def line(cells):
        return "  ".join(cell.rjust(width) if rows[0][column] in right else cell.ljust(width)
                         for column, (cell, width) in enumerate(zip(cells, widths))).rstrip()

    return [line(rows[0]), line(["-" * width for width in widths])] + [line(row) for row in rows[1:]]


def rate(case, seconds):
    """What limits the pass: arithmetic, or for decoding the bytes of keys and values."""
    if case.pass_name == "decode":
        return f"{number(case.bytes / seconds / 1e9, 3)} GB/s"
    return f"{number(case.flops / seconds / 1e9, 3)} GFLOP/s"


def time_rows(outcomes):
    """A row for each system that ran, the case's name in the first."""
    rows = [["case", "system", "rounds", "median ms", "interval", "rate", "ratio", "interval", "others", "verdict"]]
    for outcome in outcomes:
        name = outcome.case.name
        others = "-" if outcome.others is None else f"{100 * outcome.others:.0f} %"
        for system, entry in outcome.ran():
            middle, lo, hi, _ = median_interval(entry.seconds)
            cells = [name, system, str(len(entry.seconds)), number(1e3 * middle), interval(1e3 * lo, 1e3 * hi),
                     rate(outcome.case, middle)]
            ratios = outcome.ratios(system)
            if ratios is None:
                cells += ["-", ""]
            else:
                middle, lo, hi, _ = median_interval(ratios)
                cells += [number(middle, 3), interval(lo, hi, 3)]
            rows.append(cells + [others, "VALID" if entry.valid else "INVALID"])
            name = others = ""
    return rows


def accuracy_rows(outcomes, systems):
    """The largest errors of a case side by side, and whether attn's is as small as is asked."""
    rows = [["case", *systems, "rounded", "tolerance", "attn is at most", ""]]
    for outcome in outcomes:
        errors = {system: entry.error for system, entry in outcome.ran()}
        bound, words = outcome.requirement()
        met = "" if bound is None or "attn" not in errors else "yes" if errors["attn"] <= bound else "NO"
        rows.append([outcome.case.name] + [f"{errors[name]:.2e}" if name in errors else "-" for name in systems] +
                    [f"{outcome.rounding:.2e}", f"{outcome.tolerance:.2e}", words, met])
    return rows


def note_lines(outcomes):
    """How the systems ran, and why some did not: one line for all cases alike."""
    cases = {}
    for outcome in outcomes:
        for system, entry in outcome.entries.items():
            note = f"{system}, not run: {entry.skipped}" if entry.skipped else f"{system}: {entry.setting}"
            cases.setdefault(note, []).append(outcome.case.name)
    return [f"{note} ({names[0] if len(names) == 1 else f'{len(names)} cases'})"
            for note, names in sorted(cases.items())]


def write_json(path, header, outcomes):
    document = dict(header, cases=[outcome.record() for outcome in outcomes])
    with open(path, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
        file.write("\n")


def write_csv(path, outcomes):
    """One line a timed run."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["pass", "dtype", "batch", "heads", "kv_heads", "seq", "kv_seq", "head_dim", "causal", "window",
                        "system", "round", "seconds"])
        for outcome in outcomes:
            case = outcome.case
            for name, entry in outcome.entries.items():
                for turn, seconds in enumerate(entry.seconds):
                    lines.writerow([case.pass_name, case.dtype, case.batch, case.heads, case.kv_heads, case.seq,
                                    case.keys, case.head_dim, int(case.causal), case.window, name, turn,
                                    repr(seconds)])
