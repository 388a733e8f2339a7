"""The float64 reference, in plain numpy: every row of every result, and the errors of results against it."""
import math

import numpy as np

from cases import stored, value, visible

BLOCK_ROWS = 512
EPSILON = {"float32": 2.0 ** -23, "bfloat16": 2.0 ** -7}


def attention(case, data):
    """o, lse and max_score (largest visible |s|); with d_o also dq, dk, dv. All float64, [B,H,S,D]."""
    arrays = {name: value(array) for name, array in data.items()}
    out = {"o": np.empty(case.shapes["o"]), "lse": np.empty(case.shapes["q"][:3]), "max_score": 0.0}
    if "d_o" in arrays:
        out.update(dq=np.empty(case.shapes["q"]), dk=np.zeros(case.shapes["k"]), dv=np.zeros(case.shapes["v"]))
    for b in range(case.batch):
        for h in range(case.heads):
            for begin in range(0, case.seq, BLOCK_ROWS):
                rows = np.arange(begin, min(begin + BLOCK_ROWS, case.seq))
                attend_rows(case, arrays, b, h, rows, out)
    return out


def attend_rows(case, arrays, b, h, rows, out):
    scale = 1 / math.sqrt(case.head_dim)
    lo, hi = visible(case, rows)
    keys = slice(lo.min(), hi.max())
    shared = h // (case.heads // case.kv_heads)
    q, k, v = arrays["q"][b, h, rows], arrays["k"][b, shared, keys], arrays["v"][b, shared, keys]
    number = np.arange(keys.start, keys.stop)
    hidden = (number < lo[:, None]) | (number >= hi[:, None])
    s = scale * (q @ k.T)
    out["max_score"] = max(out["max_score"], np.abs(np.where(hidden, 0, s)).max())
    s[hidden] = -np.inf
    most = s.max(axis=1, keepdims=True)
    p = np.exp(s - most)
    total = p.sum(axis=1, keepdims=True)
    p /= total
    o = p @ v
    out["o"][b, h, rows] = o
    out["lse"][b, h, rows] = (most + np.log(total))[:, 0]
    if "d_o" in arrays:
        d_o = arrays["d_o"][b, h, rows]
        ds = scale * p * (d_o @ v.T - (d_o * o).sum(axis=1, keepdims=True))
        out["dq"][b, h, rows] = ds @ k
        out["dk"][b, shared, keys] += ds.T @ q
        out["dv"][b, shared, keys] += p.T @ d_o


def result_names(case):
    return ("dq", "dk", "dv") if case.pass_name == "backward" else ("o",)


def largest_error(got, want):
    """The largest |got - want| / (1 + |want|), as attnbench has it; infinite where got is no number."""
    error = np.abs(got - want) / (1 + np.abs(want))
    return float(np.where(np.isnan(error), np.inf, error).max())


def rounding_error(case, want):
    """The error of the exact result rounded to the type of the case: no result in that type is sure to have less."""
    return max(largest_error(value(stored(want[name], case.dtype)), want[name]) for name in result_names(case))


def tolerance(case, want):
    """As `attnbench verify` has it."""
    if case.dtype == "bfloat16":
        return (8 if case.pass_name == "backward" else 2) * EPSILON[case.dtype]
    return (32 if case.pass_name == "backward" else 8) * EPSILON[case.dtype] * max(1.0, float(want["max_score"]))
