"""Times attnbench's layer beside the ways in which PyTorch users write multi-head attention, on the same weights and
data, with the same threads, in turn: projections, causal attention and output projection, forward and with gradients.

Exit: 0 all results are right; 1 one is wrong; 2 bad usage, or nothing could run.
"""
import argparse
import ctypes
import gc
import math
import os
import sys
import time

import machine
import report
from peers import set_threads

WARM_UP_ROUNDS = 1
LEAST_ROUNDS = 7
EPSILON = {"float32": 2.0 ** -23, "bfloat16": 2.0 ** -7}


def read_options():
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--library", required=True, metavar="FILE", help="attn_peer.so of a build")
    parser.add_argument("--threads", type=int, default=cores, help="of each system (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=LEAST_ROUNDS, help="of all systems (default: %(default)s)")
    for name, number in (("batch", 8), ("seq", 1024), ("heads", 12), ("head-dim", 64)):
        parser.add_argument("--" + name, type=int, default=number, help="(default: %(default)s)")
    parser.add_argument("--dtype", default="float32,bfloat16", help="types (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and data (default: %(default)s)")
    given = parser.parse_args()
    given.dtype = given.dtype.split(",")
    for name in given.dtype:
        if name not in EPSILON:
            parser.error(f"--dtype {name}: {', '.join(EPSILON)} are accepted")
    for name in ("threads", "rounds", "batch", "seq", "heads", "head_dim"):
        if getattr(given, name) < 1:
            parser.error(f"--{name.replace('_', '-')} {getattr(given, name)}: at least 1 is accepted")
    given.width = given.heads * given.head_dim
    return given


# ---- Ways to write the layer with PyTorch: (weights, x) to y. weights: q, k, v, out [E,E] and the bias of out. ----

def split_heads(x, heads):
    """[B,S,E] as [B,H,S,D]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def join_heads(x):
    return x.transpose(1, 2).flatten(2)


def weighted(torch, q, k, v, hidden):
    """Scores, mask, softmax and weighted sum, each an operation of its own."""
    scores = (q @ k.transpose(-2, -1)) / math.sqrt(q.shape[-1])
    return torch.softmax(scores.masked_fill(hidden, -math.inf), dim=-1) @ v


def make_ways(torch, given, hidden):
    linear, attention = torch.nn.functional.linear, torch.nn.functional.scaled_dot_product_attention
    heads, D = given.heads, given.head_dim

    def three(w, x):
        return [split_heads(linear(x, w[n]), heads) for n in range(3)]

    def together(w, x):
        """One product for all three; the rows of the three weights follow each other in w[5]."""
        return [split_heads(part, heads) for part in linear(x, w[5]).chunk(3, dim=-1)]

    def stacked(w, x):
        outputs = []
        for h in range(heads):
            rows = slice(h * D, (h + 1) * D)
            outputs.append(weighted(torch, *(linear(x, w[n][rows]) for n in range(3)), hidden))
        return linear(torch.cat(outputs, dim=-1), w[3], w[4])

    def split(w, x):
        return linear(join_heads(weighted(torch, *three(w, x), hidden)), w[3], w[4])

    def combined(w, x):
        return linear(join_heads(weighted(torch, *together(w, x), hidden)), w[3], w[4])

    def einsum(w, x):
        q, k, v = (torch.einsum("bse,hde->bhsd", x, w[n].unflatten(0, (heads, D))) for n in range(3))
        scores = torch.einsum("bhid,bhjd->bhij", q, k) / math.sqrt(D)
        weights = torch.softmax(scores.masked_fill(hidden, -math.inf), dim=-1)
        return linear(torch.einsum("bhij,bhjd->bihd", weights, v).flatten(2), w[3], w[4])

    def fused(w, x):
        return linear(join_heads(attention(*together(w, x), is_causal=True)), w[3], w[4])

    def fused_mask(w, x):
        return linear(join_heads(attention(*together(w, x), attn_mask=~hidden)), w[3], w[4])

    def module(need_weights):
        def call(w, x):
            y, _ = torch.nn.functional.multi_head_attention_forward(
                *(x.transpose(0, 1),) * 3, given.width, heads, w[5], None, None, None, False, 0.0, w[3], w[4],
                training=True, need_weights=need_weights, attn_mask=hidden, is_causal=not need_weights)
            return y.transpose(0, 1)
        return call

    return {"torch stacked heads": stacked, "torch split heads": split, "torch combined qkv": combined,
            "torch einsum": einsum, "torch sdpa, causal": fused, "torch sdpa, mask": fused_mask,
            "torch MultiheadAttention": module(True), "torch MHA, no weights": module(False)}


class TorchWay:
    def __init__(self, torch, way, weights, x, dy):
        self.torch, self.way, self.x, self.dy, self.out = torch, way, x, dy, None
        self.weights = [w.clone().requires_grad_() for w in weights]
        self.joined = torch.cat(weights[:3]).requires_grad_()
        self.x_grad = x.clone().requires_grad_()

    def reset(self):
        self.out = None
        for array in (*self.weights, self.joined, self.x_grad):
            array.grad = None

    def run(self, backward):
        if backward:
            self.out = self.way([*self.weights, self.joined], self.x_grad)
            self.out.backward(self.dy)
        else:
            with self.torch.inference_mode():
                self.out = self.way([*self.weights, self.joined], self.x)

    def results(self, backward):
        if not backward:
            return {"y": self.out.detach().double()}
        joined = self.joined.grad.chunk(3) if self.joined.grad is not None else [w.grad for w in self.weights[:3]]
        return {"y": self.out.detach().double(), "dx": self.x_grad.grad.double(),
                **{f"dw {n}": grad.double() for n, grad in enumerate(joined)},
                "dw 3": self.weights[3].grad.double(), "db": self.weights[4].grad.double()}


class AttnLayer:
    def __init__(self, library, torch, given, dtype, weights, x, dy, backward):
        self.library, self.torch = library, torch
        extents = (ctypes.c_int64 * 5)(given.batch, given.seq, given.width, given.heads, given.head_dim)
        message = ctypes.create_string_buffer(512)
        self.layer = library.peer_layer_create(dtype.encode(), extents, 1, int(backward), given.threads, message, 512)
        if not self.layer:
            raise RuntimeError(message.value.decode())
        self.inputs = [w.contiguous() for w in weights]
        self.x, self.dy = x.contiguous(), dy.contiguous()
        self.y, self.dx = torch.empty_like(self.x), torch.empty_like(self.x)
        self.grads = [torch.empty(w.shape, dtype=torch.float32) for w in weights]

    def reset(self):
        pass

    def run(self, backward):
        def list_of(tensors):
            return (ctypes.c_void_p * 5)(*(t.data_ptr() for t in tensors))
        pointer = ctypes.c_void_p
        weights = list_of(self.inputs)
        failed = self.library.peer_layer_forward(self.layer, weights, pointer(self.x.data_ptr()),
                                                 pointer(self.y.data_ptr()))
        if backward:
            failed = failed or self.library.peer_layer_backward(
                self.layer, weights, pointer(self.x.data_ptr()), pointer(self.dy.data_ptr()),
                pointer(self.dx.data_ptr()), list_of(self.grads))
        if failed:
            raise RuntimeError("a pass failed")

    def results(self, backward):
        if not backward:
            return {"y": self.y.double()}
        return {"y": self.y.double(), "dx": self.dx.double(),
                **{f"dw {n}": self.grads[n].double() for n in range(4)}, "db": self.grads[4].double()}


def load(name):
    library = ctypes.CDLL(name)
    library.peer_layer_create.restype = ctypes.c_void_p
    library.peer_layer_create.argtypes = [ctypes.c_char_p, ctypes.POINTER(ctypes.c_int64), ctypes.c_int, ctypes.c_int,
                                          ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t]
    library.peer_layer_destroy.argtypes = [ctypes.c_void_p]
    for function, count in (("forward", 4), ("backward", 6)):
        getattr(library, "peer_layer_" + function).argtypes = [ctypes.c_void_p] * count
    return library


def largest_error(torch, got, want):
    error = (got - want).abs() / (1 + want.abs())
    return float(torch.where(torch.isnan(error), math.inf, error).max())


def flops(given, backward):
    """2 for each weight and row, forward, and 4 (D + Dv) / 2 a visible pair; backward twice and 5/2 of that."""
    weights = 2 * given.batch * given.seq * 4 * given.width ** 2
    pairs = given.batch * given.heads * given.seq * (given.seq + 1) // 2 * given.head_dim
    return weights * (3 if backward else 1) + pairs * (14 if backward else 4)


def measure(torch, library, given, dtype, backward):
    """Rows of the table, and whether all is right."""
    kind = getattr(torch, dtype)
    random = torch.Generator().manual_seed(given.seed)
    E = given.width
    exact = [torch.randn(E, E, generator=random, dtype=torch.float64) / math.sqrt(E) for _ in range(4)]
    exact.append(torch.randn(E, generator=random, dtype=torch.float64))
    weights = [w.to(kind) for w in exact]
    x, dy = (torch.randn(given.batch, given.seq, E, generator=random).to(kind) for _ in range(2))
    hidden = torch.ones(given.seq, given.seq, dtype=torch.bool).triu(1)
    ways = make_ways(torch, given, hidden)
    reference = TorchWay(torch, ways["torch combined qkv"], [w.double() for w in weights], x.double(), dy.double())
    reference.run(backward)
    want = reference.results(backward)
    del reference
    runners = {"attn": AttnLayer(library, torch, given, dtype, weights, x, dy, backward)}
    runners.update((name, TorchWay(torch, way, weights, x, dy)) for name, way in ways.items())
    seconds = {name: [] for name in runners}
    errors = {}
    load_of = machine.Load()
    for turn in range(WARM_UP_ROUNDS + given.rounds):
        for name, runner in runners.items():
            runner.reset()
            gc.collect()
            start = time.perf_counter()
            runner.run(backward)
            if turn >= WARM_UP_ROUNDS:
                seconds[name].append(time.perf_counter() - start)
            if turn == WARM_UP_ROUNDS:
                got = runner.results(backward)
                errors[name] = {array: largest_error(torch, got[array], want[array]) for array in got}
            runner.reset()
    others = load_of.of_others()
    library.peer_layer_destroy(runners["attn"].layer)
    # y and dx as `verify` has them; weights' gradients, sums over all rows, relative to their largest element.
    rows, right = [], True
    case = f"{'forward + backward' if backward else 'forward'} {dtype}"
    for name in runners:
        middle, lo, hi, _ = report.median_interval(seconds[name])
        ratio = ["-", ""]
        if name != "attn":
            r, r_lo, r_hi, _ = report.median_interval(report.paired_ratios(seconds[name], seconds["attn"]))
            ratio = [f"{r:.2f}", f"[{r_lo:.2f}, {r_hi:.2f}]"]
        y = max(errors[name].get(array, 0) for array in ("y", "dx"))
        w = max((error for array, error in errors[name].items() if array not in ("y", "dx")), default=0)
        rows.append([case, name, report.number(1e3 * middle), report.interval(1e3 * lo, 1e3 * hi),
                     f"{flops(given, backward) / middle / 1e9:.0f} GFLOP/s", *ratio, f"{y:.2e}",
                     f"{w:.2e}" if w else "-", "" if others is None else f"{100 * others:.0f} %"])
        case = ""
    own = errors["attn"]
    best = {array: min(errors[name][array] for name in ways) for array in own}
    for array, error in own.items():  # PyTorch's best way, of the same type, is the yardstick: at most 4 times its error
        right = right and error <= 4 * best[array] + EPSILON[dtype]
    return rows, right


def main():
    given = read_options()
    set_threads(given.threads)
    try:
        import torch
    except ImportError as error:
        print(f"peers: needs the Python package torch ({error})", file=sys.stderr)
        return 2
    torch.set_num_threads(given.threads)
    try:
        library = load(given.library)
    except (OSError, AttributeError) as error:
        print(f"peers: --library {given.library}: {error}", file=sys.stderr)
        return 2
    print(f"torch {torch.__version__}; {given.threads} threads each, on {machine.processor()}\n"
          f"B {given.batch}, S {given.seq}, E {given.width}, {given.heads} heads, causal; median over {given.rounds} "
          "rounds, each of which runs every system once; ratio to attn within a round; [lo, hi] covers the median with 95 %")
    rows = [["case", "system", "median ms", "interval", "rate", "ratio", "interval", "error y, dx", "error dw", "others"]]
    right = True
    for dtype in given.dtype:
        for backward in (False, True):
            more, good = measure(torch, library, given, dtype, backward)
            rows += more
            right = right and good
    library.peer_layer_finish()
    print(*report.table(rows, ("median ms", "rate", "ratio", "error y, dx", "error dw", "others")), sep="\n")
    print("RIGHT" if right else "WRONG: attn has more than 4 times the error of PyTorch's best way")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
