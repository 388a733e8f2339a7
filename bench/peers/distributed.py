"""Times attnbench's exchanges on two processes beside PyTorch with gloo doing the same, in turn.

Exit: 0 all results are right; 1 one is wrong; 2 bad usage, or nothing could run.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import report

RANKS = 2
HEADS, WIDTH = 8, 128
WARM_UP = 1
CHECKED_ROWS = 32
TOLERANCE = 2e-5  # of |got - want| / (1 + |want|): attnbench's 8 eps max(1, |s|) for scores up to about 20


# ---- PyTorch, one process a rank ----

def merge(torch, state, out, lse):
    """Partial results of the same rows over other keys (o and lse of FlashDecoding)."""
    if state is None:
        return out, lse
    top = torch.logaddexp(state[1], lse)
    return (state[0] * torch.exp(state[1] - top).unsqueeze(-1) + out * torch.exp(lse - top).unsqueeze(-1)), top


def attend(torch, q, k, v, causal):
    """(o, lse) by the kernel that scaled_dot_product_attention takes on CPUs, which alone gives lse."""
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal)


class Rank:
    """Queries, keys and values of one rank, zigzag: chunks r and 2 p - 1 - r of 2 p."""

    def __init__(self, torch, dist, seq, causal):
        self.torch, self.dist, self.causal = torch, dist, causal
        self.rank, self.chunk = dist.get_rank(), seq // (2 * RANKS)
        generator = torch.Generator().manual_seed(7)
        whole = [torch.randn(1, HEADS, seq, WIDTH, generator=generator) for _ in range(3)]
        self.whole = whole
        self.q, self.k, self.v = (self.cut(array) for array in whole)
        self.buffers = [[torch.empty_like(self.k), torch.empty_like(self.v)] for _ in range(RANKS)]

    def chunks(self, rank):
        return rank, 2 * RANKS - 1 - rank

    def cut(self, array):
        parts = [array[:, :, c * self.chunk:(c + 1) * self.chunk] for c in self.chunks(self.rank)]
        return self.torch.cat(parts, dim=2).contiguous()

    def with_part(self, state, owner, k, v):
        """Merges what a part of the keys gives into the state: of all rows, or for each chunk of rows what it sees."""
        if not self.causal:
            return [merge(self.torch, state[0] if state else None, *attend(self.torch, self.q, k, v, False))]
        state = state or [None, None]
        for n, mine in enumerate(self.chunks(self.rank)):
            rows = self.q[:, :, n * self.chunk:(n + 1) * self.chunk]
            earlier = sum(theirs < mine for theirs in self.chunks(owner)) * self.chunk
            if earlier:
                state[n] = merge(self.torch, state[n],
                                 *attend(self.torch, rows, k[:, :, :earlier], v[:, :, :earlier], False))
            if owner == self.rank:
                here = slice(n * self.chunk, (n + 1) * self.chunk)
                state[n] = merge(self.torch, state[n], *attend(self.torch, rows, k[:, :, here], v[:, :, here], True))
        return state

    def output(self, state):
        return self.torch.cat([o for o, _ in state], dim=2)

    def allgather(self):
        """All keys and values first, then what the rows see of them; without a mask in one call."""
        self.dist.all_gather([pair[0] for pair in self.buffers], self.k)
        self.dist.all_gather([pair[1] for pair in self.buffers], self.v)
        if not self.causal:
            k = self.torch.cat([pair[0] for pair in self.buffers], dim=2)
            v = self.torch.cat([pair[1] for pair in self.buffers], dim=2)
            return attend(self.torch, self.q, k, v, False)[0]
        state = None
        for owner, (k, v) in enumerate(self.buffers):
            state = self.with_part(state, owner, k, v)
        return self.output(state)

    def ring(self):
        """Each part is sent on and the next received while it is computed on."""
        after, before = (self.rank + 1) % RANKS, (self.rank - 1) % RANKS
        k, v, state = self.k, self.v, None
        for step in range(RANKS):
            requests = []
            if step + 1 < RANKS:
                coming = self.buffers[step]
                requests = [self.dist.isend(k, after), self.dist.isend(v, after),
                            self.dist.irecv(coming[0], before), self.dist.irecv(coming[1], before)]
            state = self.with_part(state, (self.rank - step) % RANKS, k, v)
            for request in requests:
                request.wait()
            if step + 1 < RANKS:
                k, v = coming
        return self.output(state)

    def error(self, out):
        """Largest |got - want| / (1 + |want|) over some rows, want in float64."""
        torch, worst = self.torch, 0.0
        q, k, v = (array.double() for array in self.whole)
        rows = self.q.shape[2]
        for local in range(0, rows, max(1, rows // CHECKED_ROWS)):
            i = self.chunks(self.rank)[local // self.chunk] * self.chunk + local % self.chunk
            keys = i + 1 if self.causal else k.shape[2]
            scores = (k[:, :, :keys] @ q[:, :, i].unsqueeze(-1)).squeeze(-1) / WIDTH ** 0.5
            want = (torch.softmax(scores, dim=-1).unsqueeze(-2) @ v[:, :, :keys]).squeeze(-2)
            got = out[:, :, local].double()
            worst = max(worst, float(((got - want).abs() / (1 + want.abs())).max()))
        return worst


def serve(rank, pipe, store):
    """A process of PyTorch: takes (exchange, seq, causal, repetitions), gives (times, error) on rank 0."""
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=RANKS)
    while True:
        task = pipe.recv()
        if task is None:
            break
        exchange, seq, causal, repetitions = task
        place = Rank(torch, dist, seq, causal)
        run, times = getattr(place, exchange), []
        for repetition in range(WARM_UP + repetitions):
            dist.barrier()
            begin = time.perf_counter()
            out = run()
            slowest = torch.tensor([time.perf_counter() - begin])
            dist.all_reduce(slowest, dist.ReduceOp.MAX)
            if repetition >= WARM_UP:
                times.append(float(slowest))
        worst = torch.tensor([place.error(out)])
        dist.all_reduce(worst, dist.ReduceOp.MAX)
        if rank == 0:
            pipe.send((times, float(worst)))
    dist.destroy_process_group()


class Torch:
    def __init__(self):
        import torch.multiprocessing as multiprocessing

        self.folder = tempfile.TemporaryDirectory()
        context = multiprocessing.get_context("spawn")
        self.pipes, self.processes = [], []
        for rank in range(RANKS):
            here, there = context.Pipe()
            process = context.Process(target=serve, args=(rank, there, os.path.join(self.folder.name, "store")), daemon=True)
            process.start()
            self.pipes.append(here)
            self.processes.append(process)

    def run(self, exchange, seq, causal, repetitions):
        for pipe in self.pipes:
            pipe.send((exchange, seq, causal, repetitions))
        return self.pipes[0].recv()

    def close(self):
        for pipe in self.pipes:
            pipe.send(None)
        for process in self.processes:
            process.join(20)
        self.folder.cleanup()


# ---- attnbench ----

def run_attnbench(options, ranks, exchange, seq, causal, repetitions):
    """Times of the slowest rank in s; attnbench checks its result itself, and fails when it is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        command = options.mpirun.split() + ["-n", str(ranks)] + [
            options.attnbench, "run", "--heads", str(HEADS), "--seq", str(seq), "--head-dim", str(WIDTH), "--exchange", exchange,
            "--grid", f"{ranks}x1", "--layout", "zigzag", "--threads", str(RANKS // ranks), "--warmup", str(WARM_UP), "--min-reps",
            str(repetitions), "--max-reps", str(repetitions), "--quiet", "--json", "-", "--output", os.path.join(folder, "r.h5")]
        command += ["--causal"] if causal else []
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
    entries = [entry for entry in json.loads(done.stdout)["benchmarks"] if entry.get("run_type", "iteration") == "iteration"]
    factor = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
    return [entry["real_time"] * factor[entry["time_unit"]] for entry in entries]


# ---- Cases ----

def show_case(options, torch, seq, causal):
    """Rounds of all systems in turn; the rows of the table and whether all were right."""
    torch_exchanges, exchanges = ("allgather", "ring"), options.exchanges.split(",")
    names = ["1 rank x 2 threads"] + exchanges + [f"torch {name}" for name in torch_exchanges]
    medians = {name: [] for name in names}
    right, worst = True, {}
    for _ in range(options.rounds):
        medians[names[0]].append(report.median(run_attnbench(options, 1, "none", seq, causal, options.repetitions)))
        for name in exchanges:
            medians[name].append(report.median(run_attnbench(options, RANKS, name, seq, causal, options.repetitions)))
        for name in torch_exchanges if torch else ():
            times, error = torch.run(name, seq, causal, options.repetitions)
            medians[f"torch {name}"].append(report.median(times))
            worst[f"torch {name}"] = error
            right = right and error <= TOLERANCE
    rows = []
    for name in names:
        if not medians[name]:
            continue
        middle, lo, hi, _ = report.median_interval(medians[name])
        whole = report.paired_ratios(medians[names[0]], medians[name])
        row = [f"S {seq} {'causal' if causal else 'full'}" if name == names[0] else "", name, report.number(1e3 * middle),
               report.interval(1e3 * lo, 1e3 * hi), f"{100 * report.median(whole):.1f}"]
        for peer in torch_exchanges:
            others = medians[f"torch {peer}"]
            row.append(f"{report.median(report.paired_ratios(others, medians[name])):.2f}" if others else "-")
        rows.append(row + [f"{worst[name]:.1e}" if name in worst else "validated"])
    return rows, right


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog=__doc__.splitlines()[2])
    parser.add_argument("--attnbench", required=True, metavar="FILE", help="the program of a build")
    parser.add_argument("--mpirun", default="mpirun", help="the launcher and its options")
    parser.add_argument("--exchanges", default="allgather,ring,shared", help="attnbench's (default: %(default)s)")
    parser.add_argument("--seq", default="4096,8192", help="lengths (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of all systems (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=7, help="repetitions in a round (default: %(default)s)")
    options = parser.parse_args()
    try:
        torch = Torch()
    except ImportError as missing:
        print(f"peers: without PyTorch: {missing}", file=sys.stderr)
        torch = None
    rows = [["case", "system", "median ms", "interval", "% of 1 rank", "torch allgather", "torch ring", "largest error"]]
    right = True
    try:
        for seq in (int(text) for text in options.seq.split(",")):
            for causal in (False, True):
                more, valid = show_case(options, torch, seq, causal)
                rows += more
                right = right and valid
    except (RuntimeError, OSError, ValueError) as failure:
        print(f"peers: {failure}", file=sys.stderr)
        return 2
    finally:
        if torch:
            torch.close()
    print(f"float32, B 1, H {HEADS}, D {WIDTH}, zigzag; {RANKS} processes of one thread each, beside one rank with {RANKS} threads.\n"
          f"median over {options.rounds} rounds of the median of {options.repetitions} repetitions of the slower process; [lo, hi] covers "
          "the median with 95 % (order statistics)\n% of 1 rank: time of the one rank / time; torch: time of PyTorch with gloo and the "
          "exchange / time, both paired by round\n")
    print("\n".join(report.table(rows, right=("median ms", "% of 1 rank", "torch allgather", "torch ring"))))
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
