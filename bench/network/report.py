"""Tables and pictures of what run.sh measured, beside the model of docs/network.md. Reads result files through
`attnbench report` alone.

    python3 report.py --attnbench PROGRAM FOLDER
"""
import argparse
import csv
import io
import math
import pathlib
import re
import subprocess

NEAR = 10  # points of exposed share by which the model may be off to be called right
NAMES = {"ring": "ring", "alltoall": "alltoall", "hybrid": "hybrid 2x2"}
COLOURS = {"ring": "#0072B2", "alltoall": "#D55E00", "hybrid": "#009E73"}


class Case:
    """A measured case: factors and outcomes by name, as report --csv has them, and its phases in s."""

    def __init__(self, row, phases):
        self.row, self.phases = row, phases
        self.ranks, self.seq = int(row["ranks"]), int(row["seq"])
        self.heads, self.kv_heads = int(row["heads"]), int(row["kv_heads"])
        self.causal = row["causal"] == "1"
        self.time, self.flops = float(row["median_s"]), float(row["flops"])
        self.bytes, self.messages = float(row["bytes_predicted"]), float(row["messages_predicted"])
        self.of = row["exchange"], row["transfer"] if row["exchange"] == "ring" else ""
        self.set = self.ranks, self.causal, self.kv_heads

    def exposed(self):
        return self.phases["exchange-wait"] / self.phases["total"]


def read_csv(program, *arguments):
    text = subprocess.run([program, "report", *arguments], check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True).stdout
    return list(csv.DictReader(io.StringIO(text)))


def read_cases(program, path):
    """Each file has one sequence of lengths, by which phases and cases belong together."""
    phases = {}
    for row in read_csv(program, "--phases", "--format", "csv", str(path)):
        seq = int(re.search(r"\bS (\d+)", row["case"]).group(1))
        phases.setdefault(seq, {})[row["phase"]] = 1e-3 * float(row["ms"])
    return [Case(row, phases[int(row["seq"])]) for row in read_csv(program, "--cases", "--csv", "-", str(path))
            if row["status"] == "valid"]


class Study:
    def __init__(self, program, folder):
        self.cases, self.links = {}, {}
        for path in sorted(folder.glob("*.h5")):
            for case in read_cases(program, path):
                self.cases.setdefault(case.set, {}).setdefault(case.of, {})[case.seq] = case
        for line in (folder / "messages.txt").read_text().splitlines():
            ranks, alpha, pair, every = line.split()
            self.links[int(ranks)] = float(alpha), float(pair), float(every)

    def link(self, case):
        """alpha in s, bandwidth in B/s of each rank while all send."""
        return self.links[case.ranks][0], self.links[case.ranks][2]

    def rate(self, case):
        """FLOP/s of a rank while all ranks compute and nothing travels: heads alone are split."""
        alone = self.cases[case.ranks, case.causal, case.heads]["none", ""][case.seq]
        return alone.flops / alone.ranks / alone.time

    def compute(self, case):
        return case.flops / case.ranks / self.rate(case)

    def predicted(self, case):
        """(time, exposed time) in s."""
        alpha, bandwidth = self.link(case)
        p, compute = case.ranks, self.compute(case)
        exchange, transfer = case.of
        if exchange == "ring":
            step = (case.messages * alpha + case.bytes / bandwidth) / (p - 1)
            hidden = 0 if transfer == "blocking" else min(step, compute / p)
            exposed = (p - 1) * (step - hidden)
        elif exchange == "hybrid":
            pu, pr = map(int, case.row["hybrid"].split("x"))
            # e bytes an element: half of a ring's 2 hkv X are keys.
            share = 4 * case.seq / p * int(case.row["head_dim"])
            ring_bytes = 2 * max(case.kv_heads, pu) * (pr - 1) * share
            ring_messages = 2 * (pr - 1)
            step = (ring_messages * alpha + ring_bytes / bandwidth) / (pr - 1)
            exposed = ((case.messages - ring_messages) * alpha + (case.bytes - ring_bytes) / bandwidth +
                       (pr - 1) * max(0, step - compute / pr))
        else:
            exposed = case.messages * alpha + case.bytes / bandwidth
        return compute + exposed, exposed

    def bound(self, case):
        """Least S/p at which a step of the ring hides its transfer, with the rate at the longest S."""
        cases = self.cases[case.set][case.of]
        group = case.heads / case.kv_heads
        return 4 * self.rate(cases[max(cases)]) / (2 * group * self.link(case)[1]) * (2 if case.causal else 1)


def table(head, rows):
    widths = [max(len(str(row[c])) for row in [head, *rows]) for c in range(len(head))]
    lines = [head, ["-" * w for w in widths], *rows]
    return "\n".join("  ".join(str(cell).rjust(w) for cell, w in zip(line, widths)).rstrip() for line in lines)


def percent(share):
    return f"{100 * share:.1f}"


def verdict(measured, model):
    difference = 100 * (measured - model)
    if abs(difference) <= NEAR:
        return "as the model"
    return f"{abs(difference):.0f} points {'more' if difference > 0 else 'less'} exposed"


def exposed_rows(study):
    for key, of in sorted(study.cases.items()):
        blocking, nonblocking = of.get(("ring", "blocking")), of.get(("ring", "nonblocking"))
        if blocking is None or nonblocking is None:
            continue
        for seq in sorted(set(blocking) & set(nonblocking)):
            yield key, blocking[seq], nonblocking[seq]


def exposed_table(study):
    head = ["hosts", "mask", "S", "S/p", "bound", "hides", "blocking %", "model %", "nonblocking %", "model %",
            "transfer hidden %", "verdict"]
    rows = []
    for key, blocking, case in exposed_rows(study):
        models = [exposed / time for time, exposed in map(study.predicted, (blocking, case))]
        hidden = 1 - case.phases["exchange-wait"] / blocking.phases["exchange-wait"]
        bound, length = study.bound(case), case.seq / case.ranks
        rows.append([key[0], "causal" if key[1] else "full", case.seq, f"{length:.0f}", f"{bound:.0f}",
                     "yes" if length >= bound else "no", percent(blocking.exposed()), percent(models[0]),
                     percent(case.exposed()), percent(models[1]), percent(hidden),
                     verdict(case.exposed(), models[1])])
    return table(head, rows)


def curves(of):
    """Of a set of cases, the exchanges that are compared, each in its default transfer."""
    return {name: of[name, "nonblocking" if name == "ring" else ""] for name in NAMES
            if (name, "nonblocking" if name == "ring" else "") in of}


def crossings(one, other):
    """S at which the faster of two changes, on straight lines between points of log(time) over log(S)."""
    found = []
    seqs = sorted(set(one) & set(other))
    for a, b in zip(seqs, seqs[1:]):
        before, after = math.log(one[a] / other[a]), math.log(one[b] / other[b])
        if before * after < 0:
            found.append(math.exp(math.log(a) + before / (before - after) * math.log(b / a)))
    return found


def crossover_tables(study):
    times, crosses = [], []
    for key, of in sorted(study.cases.items()):
        found = curves(of)
        if len(found) < len(NAMES):
            continue
        measured = {name: {s: c.time for s, c in found[name].items()} for name in NAMES}
        model = {name: {s: study.predicted(c)[0] for s, c in found[name].items()} for name in NAMES}
        for seq in sorted(set.intersection(*(set(found[name]) for name in NAMES))):
            cells = [key[0], key[2], seq]
            for name in NAMES:
                cells += [f"{1e3 * measured[name][seq]:.2f}", f"{1e3 * model[name][seq]:.2f}"]
            fastest = [min(NAMES, key=lambda name, t=t: t[name][seq]) for t in (measured, model)]
            loss = measured[fastest[1]][seq] / measured[fastest[0]][seq] - 1
            times.append(cells + [NAMES[fastest[0]], NAMES[fastest[1]], f"{100 * loss:.0f}"])
        for a, b in (("ring", "alltoall"), ("ring", "hybrid"), ("hybrid", "alltoall")):
            text = [", ".join(f"{s:.0f}" for s in crossings(t[a], t[b])) or "none" for t in (measured, model)]
            crosses.append([key[0], key[2], f"{NAMES[a]} = {NAMES[b]}", *text])
    head = ["hosts", "kv heads", "S"]
    for name in NAMES:
        head += [f"{NAMES[name]} ms", "model"]
    return (table(head + ["fastest", "model's", "loss %"], times) + "\n\n" +
            table(["hosts", "kv heads", "equal times", "S measured", "S of the model"], crosses))


def block(points):
    return "".join(" ".join(f"{value:.6g}" for value in point) + "\n" for point in points) + "e\n"


def draw(folder, name, panels, ylabel, top):
    """panels: (title, commands, [(how, points)])"""
    for ending, terminal in ((".png", "pngcairo noenhanced size {},560 font 'Sans,12'"),
                             (".svg", "svg noenhanced size {},560 font 'Sans,14' background '#FFFFFF'")):
        script = [f"set terminal {terminal.format(600 * len(panels))}", f"set output '{folder / (name + ending)}'",
                  f"set multiplot layout 1,{len(panels)}", "set logscale x 2", "set grid ytics lc '#DDDDDD'",
                  "set xlabel 'S, rows of the sequence'", f"set ylabel '{ylabel}'", f"set key {top} samplen 3",
                  "set border 3", "set tics nomirror"]
        for title, commands, series in panels:
            seqs = [point[0] for _, points in series for point in points]
            script += [f"set title '{title}'", "unset arrow", "unset label",
                       f"set xrange [{min(seqs) / 1.1}:{max(seqs) * 1.1}]", *commands,
                       "plot " + ", ".join(f"'-' {how}" for how, _ in series)]
            script += [block(points).rstrip("\n") for _, points in series]
        script.append("unset multiplot")
        subprocess.run(["gnuplot"], input="\n".join(script) + "\n", text=True, check=True)


def draw_exposed(study, folder):
    panels = {}
    for key, blocking, case in exposed_rows(study):
        panels.setdefault(key, []).append((blocking, case))
    drawn = []
    for key, pairs in sorted(panels.items(), reverse=True):
        series = []
        for index, (transfer, colour) in enumerate((("blocking", "#D55E00"), ("nonblocking", "#0072B2"))):
            cases = [pair[index] for pair in pairs]
            series.append((f"with linespoints lc '{colour}' pt {7 - 2 * index} lw 2 title '{transfer}, measured'",
                           [(c.seq, 100 * c.exposed()) for c in cases]))
            series.append((f"with lines lc '{colour}' dt 2 lw 2 title '{transfer}, model'",
                           [(c.seq, 100 * study.predicted(c)[1] / study.predicted(c)[0]) for c in cases]))
        bound = key[0] * study.bound(pairs[-1][1])
        commands = [f"set arrow from {bound:.6g}, graph 0 to {bound:.6g}, graph 1 nohead lc '#666666' dt 3 lw 2",
                    f"set label 'bound: S = {bound:.0f}' at {bound:.6g}, graph 0.04 right offset -0.5,0"]
        if bound > 1.1 * max(pair[0].seq for pair in pairs):  # beyond the panel, and of the next one
            commands = [f"set label 'bound: S = {bound:.0f}' at graph 0.98, graph 0.04 right"]
        drawn.append((f"ring on {key[0]} hosts, {'causal, zigzag' if key[1] else 'full mask'}",
                      ["set yrange [0:100]", *commands], series))
    draw(folder, "exposed", drawn, "exchange-wait, % of total", "top right")


def draw_crossover(study, folder):
    drawn = []
    for key, of in sorted(study.cases.items(), reverse=True):
        found = curves(of)
        if len(found) < len(NAMES):
            continue
        series = []
        for index, name in enumerate(NAMES):
            cases = [found[name][seq] for seq in sorted(found[name])]
            series.append((f"with linespoints lc '{COLOURS[name]}' pt {5 + 2 * index} lw 2 "
                           f"title '{NAMES[name]}, measured'",
                           [(c.seq, c.time / study.compute(c)) for c in cases]))
            series.append((f"with lines lc '{COLOURS[name]}' dt 2 lw 2 title '{NAMES[name]}, model'",
                           [(c.seq, study.predicted(c)[0] / study.compute(c)) for c in cases]))
        drawn.append((f"{key[0]} hosts, full mask, {found['ring'][min(found['ring'])].heads} heads, "
                      f"{key[2]} key-value head{'s' if key[2] > 1 else ''}",
                      ["set yrange [0.8:*]", "set logscale y"], series))
    draw(folder, "crossover", drawn, "time / time of computing alone", "top right")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attnbench", default="attnbench", help="the program")
    parser.add_argument("folder", type=pathlib.Path, help="what run.sh left")
    given = parser.parse_args()
    study = Study(given.attnbench, given.folder)
    print(table(["hosts", "alpha us", "MB/s of a pair", "MB/s each, all at once"],
                [[p, f"{1e6 * a:.0f}", f"{1e-6 * pair:.1f}", f"{1e-6 * every:.1f}"]
                 for p, (a, pair, every) in sorted(study.links.items())]))
    print("\nExposed share of the ring: exchange-wait, % of total\n" + exposed_table(study))
    print("\nring, alltoall and hybrid, full mask\n" + crossover_tables(study))
    draw_exposed(study, given.folder)
    draw_crossover(study, given.folder)


if __name__ == "__main__":
    main()
