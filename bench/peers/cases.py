"""What is compared: the cases, and the data that every system gets."""
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Case:
    """One problem, in the words of docs/design.md. A window is causal and counts the visible keys, the diagonal among
    them; 0: none."""
    pass_name: str
    dtype: str
    seq: int
    head_dim: int
    causal: bool = False
    window: int = 0
    heads: int = 8
    kv_heads: int = 8
    kv_seq: int = 0
    batch: int = 1

    @property
    def keys(self):
        return self.kv_seq or self.seq

    @property
    def mask(self):
        if self.window:
            return f"window {self.window}"
        return "causal" if self.causal else "full"

    @property
    def name(self):
        """Without batch and heads where they are those of most cases."""
        shape = f"S{self.seq}" if self.keys == self.seq else f"S{self.seq}x{self.keys}"
        if self.kv_heads != self.heads:
            shape = f"H{self.heads}/{self.kv_heads} {shape}"
        return f"{self.pass_name} {self.dtype} {shape} D{self.head_dim} {self.mask}"

    @property
    def shapes(self):
        """Of each array."""
        query = (self.batch, self.heads, self.seq, self.head_dim)
        key = (self.batch, self.kv_heads, self.keys, self.head_dim)
        return {"q": query, "k": key, "v": key, "o": query, "d_o": query}

    @property
    def pairs(self):
        """Visible (query, key) pairs, summed over batch and query heads."""
        lo, hi = visible(self, np.arange(self.seq))
        return self.batch * self.heads * int((hi - lo).sum())

    @property
    def flops(self):
        """As attnbench counts: 2 (D + Dv) a visible pair forward, 6 D + 4 Dv backward."""
        return self.pairs * self.head_dim * (10 if self.pass_name == "backward" else 4)

    @property
    def bytes(self):
        """Of q, k, v and o, each moved once."""
        elements = sum(int(np.prod(self.shapes[name])) for name in "qkvo")
        return elements * (4 if self.dtype == "float32" else 2)


def visible(case, rows):
    """The keys [lo, hi) that query rows see; the diagonal is aligned bottom-right."""
    diagonal = rows + case.keys - case.seq
    lo = np.zeros_like(rows)
    hi = np.full_like(rows, case.keys)
    if case.causal:
        hi = np.minimum(hi, diagonal + 1)
    if case.window:
        lo = np.maximum(lo, diagonal + 1 - case.window)
    return lo, hi


def all_cases():
    cases = [Case("forward", dtype, seq, head_dim, causal)
             for dtype in ("float32", "bfloat16") for head_dim in (128, 64) for seq in (1024, 4096)
             for causal in (False, True)]
    cases += [Case("backward", dtype, 4096, 128, causal)
              for dtype in ("float32", "bfloat16") for causal in (False, True)]
    cases += [Case("decode", dtype, 1, 128, kv_heads=kv_heads, kv_seq=16384)
              for dtype in ("float32", "bfloat16") for kv_heads in (8, 1)]
    return cases + [Case("forward", "float32", 8192, 128, causal=True, window=256)]


def shortened(case, divisor):
    """The same case with its sequence lengths divided, for a quick look."""
    return replace(case, seq=max(1, case.seq // divisor), kv_seq=case.kv_seq // divisor,
                   window=case.window // divisor)


def to_bfloat16(x):
    """Rounds to nearest even; returns the bits as uint16."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def stored(x, dtype):
    """x rounded to a type, as it is stored: bfloat16 as uint16."""
    return to_bfloat16(x) if dtype == "bfloat16" else np.ascontiguousarray(x, np.float32)


def value(x):
    """What a stored array holds, in float64."""
    return ((x.astype(np.uint32) << 16).view(np.float32) if x.dtype == np.uint16 else x).astype(np.float64)


def make_data(case, seed):
    """q, k, v and, for gradients, d_o: standard normals in the type of the case, dense [B,H,S,D]."""
    random = np.random.default_rng(seed)
    names = ("q", "k", "v", "d_o") if case.pass_name == "backward" else ("q", "k", "v")
    return {name: stored(random.standard_normal(case.shapes[name], np.float32), case.dtype) for name in names}
