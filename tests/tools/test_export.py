"""tools/export_layer.py: layers of small made models, named as GPT-2, Llama, BERT and torch name them, are exported and
verified by attnbench against a float64 computation in NumPy here, and exported back. With torch installed also against
torch's own modules, gradients included.

    ATTNBENCH=build/dev/attnbench python3 tests/tools/test_export.py
"""
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

try:
    import h5py
    import numpy as np
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)
try:
    import torch
except ImportError:
    torch = None

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location("export_layer", ROOT / "tools" / "export_layer.py")
tool = importlib.util.module_from_spec(SPEC)
sys.dont_write_bytecode = True
SPEC.loader.exec_module(tool)
rng = np.random.default_rng(7)


def normal(*extents):
    return (rng.standard_normal(extents) * 0.3).astype(np.float32)


def turned(x, theta, interleaved):
    """Rotary embedding of [S,H,D]; pairs as Su et al. 2021, eq. 34, or halves."""
    rows, _, dim = x.shape
    angle = np.arange(rows)[:, None, None] * theta ** (-2 * np.arange(dim // 2) / dim)
    a, b = (x[..., 0::2], x[..., 1::2]) if interleaved else (x[..., : dim // 2], x[..., dim // 2 :])
    first, second = a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)
    return np.stack([first, second], -1).reshape(x.shape) if interleaved else np.concatenate([first, second], -1)


def attention(x, w, heads, kv_heads, causal=False, theta=None, interleaved=False):
    """y of one sequence in float64; w: {part: (weight [out,in], bias or None)}."""
    x = x.astype(np.float64)
    project = lambda name, n: (x @ w[name][0].T.astype(np.float64) + (0 if w[name][1] is None else w[name][1])
                               ).reshape(len(x), n, -1)
    q, k, v = project("query", heads), project("key", kv_heads), project("value", kv_heads)
    if theta:
        q, k = turned(q, theta, interleaved), turned(k, theta, interleaved)
    out = np.empty((len(x), heads, v.shape[2]))
    for h in range(heads):
        g = h * kv_heads // heads
        s = q[:, h] @ k[:, g].T / np.sqrt(q.shape[2])
        if causal:
            s[np.triu_indices(len(x), 1)] = -np.inf
        p = np.exp(s - s.max(1, keepdims=True))
        out[:, h] = p / p.sum(1, keepdims=True) @ v[:, g]
    y = out.reshape(len(x), -1)
    return y @ w["out"][0].T.astype(np.float64) + (0 if w["out"][1] is None else w["out"][1])


def made(heads=4, kv_heads=4, dim=6, embed=20, bias=True):
    sizes = {"query": heads * dim, "key": kv_heads * dim, "value": kv_heads * dim}
    w = {name: (normal(n, embed), normal(n) if bias else None) for name, n in sizes.items()}
    w["out"] = (normal(embed, heads * dim), normal(embed) if bias else None)
    return w


class Export(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def run_tool(self, *arguments, code=0):
        done = subprocess.run([sys.executable, str(ROOT / "tools" / "export_layer.py"), *map(str, arguments)],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def export(self, state, *options, x=None):
        np.savez(self.path("model.npz"), **state)
        x = normal(17, 20) if x is None else x
        np.save(self.path("x.npy"), x)
        self.run_tool("export", self.path("model.npz"), self.path("layer.h5"), "--hidden", self.path("x.npy"), *options)
        return x

    def verify(self, y=None, extra=None):
        with h5py.File(self.path("layer.h5"), "a") as file:
            if y is not None:
                file["expected/y"] = np.reshape(y, (1, *np.shape(y)[-2:]))
            for name, array in (extra or {}).items():
                file[name] = array
        done = subprocess.run([os.environ["ATTNBENCH"], "verify", self.path("layer.h5")], capture_output=True, text=True,
                              check=False)
        if "can be computed yet" in done.stderr:
            self.skipTest(done.stderr.strip())
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(" 0 FAIL; 0 not checked", done.stdout)

    def names(self):
        with h5py.File(self.path("layer.h5")) as file:
            names = []
            file["weights"].visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
            return sorted(names)

    def test_gpt2(self):
        w = made()
        state = {"h.0.attn.c_attn.weight": np.concatenate([w[p][0] for p in ("query", "key", "value")]).T,
                 "h.0.attn.c_attn.bias": np.concatenate([w[p][1] for p in ("query", "key", "value")]),
                 "h.0.attn.c_proj.weight": w["out"][0].T, "h.0.attn.c_proj.bias": w["out"][1],
                 "h.0.attn.bias": np.tri(17)[None, None], "h.0.mlp.c_proj.weight": normal(80, 20),
                 "h.0.mlp.c_fc.weight": normal(20, 80), "h.0.ln_1.bias": normal(20),
                 "h.1.attn.c_attn.weight": normal(20, 72), "h.1.attn.c_proj.weight": normal(24, 20)}
        x = self.export(state, "--layer", 0, "--heads", 4, "--causal")
        self.assertEqual(self.names(), ["c_attn.bias", "c_attn.weight", "c_proj.bias", "c_proj.weight"])
        self.verify(attention(x, w, 4, 4, causal=True))
        self.run_tool("weights", self.path("layer.h5"), self.path("back.npz"), "--names", "gpt2", "--prefix", "h.0.attn.")
        back = np.load(self.path("back.npz"))
        self.assertEqual(len(back.files), 4)
        for name in back.files:
            np.testing.assert_array_equal(back[name], state[name])

    def test_llama(self):
        w = made(4, 2, bias=False)
        names = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "o_proj"}
        state = {f"model.layers.7.self_attn.{names[p]}.weight": w[p][0] for p in w}
        state["model.layers.7.mlp.gate_proj.weight"] = normal(40, 20)
        options = ("--layer", 7, "--heads", 4, "--kv-heads", 2, "--causal", "--rotary-theta", 500)
        x = self.export(state, *options, "--rotary-style", "half")
        y = attention(x, w, 4, 2, causal=True, theta=500)
        # Rows turned into pairs, as Meta publishes them: the same function.
        self.run_tool("weights", self.path("layer.h5"), self.path("pairs.npz"), "--names", "llama", "--rotary-style",
                      "interleaved", "--prefix", "model.layers.7.self_attn.")
        pairs = dict(np.load(self.path("pairs.npz")))
        self.assertFalse(np.array_equal(pairs["model.layers.7.self_attn.q_proj.weight"], w["query"][0]))
        np.testing.assert_allclose(attention(x, {**w, "query": (pairs["model.layers.7.self_attn.q_proj.weight"], None),
                                                 "key": (pairs["model.layers.7.self_attn.k_proj.weight"], None)},
                                             4, 2, causal=True, theta=500, interleaved=True), y, atol=1e-12)
        self.verify(y)
        self.export(pairs, *options, "--rotary-style", "interleaved", x=x)
        self.verify(y)

    def test_bert(self):
        w = made()
        names = {"query": "self.query", "key": "self.key", "value": "self.value", "out": "output.dense"}
        state = {f"encoder.layer.3.attention.{names[p]}.{kind}": w[p][n] for p in w
                 for n, kind in enumerate(("weight", "bias"))}
        state.update({"encoder.layer.3.output.dense.weight": normal(20, 80),
                      "encoder.layer.3.intermediate.dense.weight": normal(80, 20),
                      "encoder.layer.3.attention.output.LayerNorm.weight": normal(20)})
        x = self.export(state, "--layer", 3, "--heads", 4)
        self.assertIn("self.query.weight", self.names())
        self.assertIn("output.dense.bias", self.names())
        self.verify(attention(x, w, 4, 4))

    def test_fused_by_heads(self):
        w = made()
        by_heads = [np.stack([w[p][n].reshape(4, 6, -1) for p in ("query", "key", "value")], 1) for n in (0, 1)]
        state = {"attention.query_key_value.weight": by_heads[0].reshape(72, 20),
                 "attention.query_key_value.bias": by_heads[1].reshape(72),
                 "attention.dense.weight": w["out"][0], "attention.dense.bias": w["out"][1]}
        x = self.export(state, "--heads", 4, "--fused-order", "heads", "--causal")
        self.verify(attention(x, w, 4, 4, causal=True))

    def test_torch_names(self):
        w = made()
        state = {"in_proj_weight": np.concatenate([w[p][0] for p in ("query", "key", "value")]),
                 "in_proj_bias": np.concatenate([w[p][1] for p in ("query", "key", "value")]),
                 "out_proj.weight": w["out"][0], "out_proj.bias": w["out"][1]}
        x = self.export(state, "--heads", 4)
        self.verify(attention(x, w, 4, 4))
        self.run_tool("weights", self.path("layer.h5"), self.path("split.npz"), "--names", "bert")
        np.testing.assert_array_equal(np.load(self.path("split.npz"))["self.key.bias"], w["key"][1])
        self.run_tool("weights", self.path("layer.h5"), self.path("same.npz"))
        np.testing.assert_array_equal(np.load(self.path("same.npz"))["in_proj_weight"], state["in_proj_weight"])

    def test_refusals(self):
        w = made()
        state = {f"{p}.weight": w[p][0] for p in ("query", "key", "value")}
        np.savez(self.path("model.npz"), **state)
        for arguments, words in (
            (("export", self.path("model.npz"), self.path("o.h5")), "--heads N is needed"),
            (("export", self.path("model.npz"), self.path("o.h5"), "--heads", 5), "do not fit"),
            (("export", self.path("model.npz"), self.path("o.h5"), "--heads", 4, "--layer", 2), "0 attention layers fit"),
            (("export", self.path("none.npz"), self.path("o.h5")), "no such file"),
            (("export", self.path("model.h5"), self.path("o.h5")), "no such file"),
            (("weights", self.path("model.npz"), self.path("o.npz")), "model.npz"),
        ):
            done = self.run_tool(*arguments, code=2)
            self.assertIn(words, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)
            self.assertFalse(os.path.exists(self.path("o.h5")))
        np.savez(self.path("model.npz"), **{"attn.q_norm.weight": normal(6)},
                 **{f"attn.{p}.weight": w[p][0] for p in ("query", "key", "value")})
        done = self.run_tool("export", self.path("model.npz"), self.path("o.h5"), "--heads", 4, code=2)
        self.assertIn("attn.q_norm.weight: layer files have no place for it", done.stderr)

    def test_one_table(self):
        table = (ROOT / "src/io/layer_names.c").read_text(encoding="utf-8")
        library = {}
        for role, name in re.findall(r'X\((\w+), "([^"]+)"\)', table):
            library.setdefault(role.lower(), []).append(name)
        self.assertEqual({role: names.split() for role, names in tool.ALIASES.items()}, library)
        page = (ROOT / "docs/layers.md").read_text(encoding="utf-8")
        for names in library.values():
            for name in names:
                self.assertIn(f"`{name}`", page)

    @unittest.skipIf(importlib.util.find_spec("safetensors") is None, "safetensors is not installed")
    def test_folder(self):
        w = made(4, 2, bias=False)
        from safetensors.numpy import save_file

        os.mkdir(self.path("model"))
        names = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "o_proj"}
        save_file({f"model.layers.0.self_attn.{names[p]}.weight": w[p][0] for p in w},
                  self.path("model/model.safetensors"))
        pathlib.Path(self.path("model/config.json")).write_text(
            '{"model_type": "llama", "num_attention_heads": 4, "num_key_value_heads": 2, "rope_theta": 500}',
            encoding="utf-8")
        x = normal(17, 20)
        np.save(self.path("x.npy"), x)
        self.run_tool("export", self.path("model"), self.path("layer.h5"), "--layer", 0, "--hidden", self.path("x.npy"))
        self.verify(attention(x, w, 4, 2, causal=True, theta=500))

    @unittest.skipIf(torch is None, "torch is not installed")
    def test_torch_module(self):
        for batch, causal, kdim in ((2, True, None), (1, False, None), (2, False, 12)):
            torch.manual_seed(3)
            module = torch.nn.MultiheadAttention(24, 4, kdim=kdim, vdim=kdim, batch_first=True)
            for parameter in module.parameters():
                torch.nn.init.normal_(parameter, std=0.3)
            torch.save(module.state_dict(), self.path("model.pt"))
            module = module.double()
            x, dy = torch.tensor(normal(batch, 19, 24)).double().requires_grad_(), normal(batch, 19, 24)
            context = torch.tensor(normal(batch, 11, kdim)).double().requires_grad_() if kdim else x
            mask = torch.triu(torch.ones(19, 19, dtype=torch.bool), 1) if causal else None
            y = module(x, context, context, attn_mask=mask, need_weights=False)[0]
            y.backward(torch.tensor(dy).double())
            np.save(self.path("x.npy"), x.detach().numpy().astype(np.float32))
            self.run_tool("export", self.path("model.pt"), self.path("layer.h5"), "--heads", 4, "--hidden",
                          self.path("x.npy"), *(["--causal"] if causal else []))
            extra = {"expected/y": y.detach().numpy(), "expected/dx": x.grad.numpy(), "dy": dy}
            if kdim:
                extra.update({"context": context.detach().numpy().astype(np.float32),
                              "expected/dcontext": context.grad.numpy()})
            extra.update({"expected/weights/" + n: p.grad.numpy() for n, p in module.named_parameters()})
            self.verify(extra=extra)


if __name__ == "__main__":
    unittest.main()
