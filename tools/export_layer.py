#!/usr/bin/env python3
"""Layer files for attnbench from trained models, and back.

    tools/export_layer.py export MODEL LAYER.h5 [--layer N] [where x comes from] [what the model's files do not tell]
    tools/export_layer.py weights LAYER.h5 STATE.safetensors|.npz|.pt [--names FAMILY] [--prefix PREFIX]
    tools/export_layer.py names MODEL

MODEL is a .safetensors, .npz, .pt or .bin file with a state_dict, or a folder of a Hugging Face model (config.json and
weights). docs/layers.md describes layer files and this tool. Needs h5py; safetensors, torch and transformers only for
what they read. Nothing is fetched.
"""
import argparse
import json
import math
import os
import sys

import h5py
import numpy as np

# The names of src/io/layer_names.c, in its order.
ALIASES = {
    "query": "query W_query query_linear query_proj query_layer q_proj q_lin q_linear linear_q linears.0 to_q attn_q wq "
             "W_q q",
    "key": "key W_key key_linear key_proj key_layer k_proj k_lin k_linear linear_k linears.1 to_k attn_k wk W_k k",
    "value": "value W_value value_linear value_proj value_layer v_proj v_lin v_linear linear_v linears.2 to_v attn_v wv "
             "W_v v",
    "out": "out_proj o_proj c_proj dense out_lin out_linear output_linear output_proj linear_out linears.3 to_out.0 "
           "to_out attn_output proj wo W_o W_out out o",
    "qkv": "in_proj query_key_value qkv qkv_proj qkv_linear c_attn Wqkv W_qkv W_pack to_qkv attn_qkv",
    "kv": "key_value kv kv_proj to_kv Wkv",
}
PARTS = {"query": ["query"], "key": ["key"], "value": ["value"], "out": ["out"], "qkv": ["query", "key", "value"],
         "kv": ["key", "value"]}

# What a model's type implies and its configuration does not say.
#   rotary: style of the published weights; fused: order of the rows of query_key_value, if not q, k, v
MODELS = {
    "bert": {}, "roberta": {}, "distilbert": {}, "electra": {}, "xlm-roberta": {}, "camembert": {}, "vit": {},
    "gpt2": {"causal": 1}, "opt": {"causal": 1},
    "gpt_neo": {"causal": 1, "scale": 1.0},
    "gptj": {"causal": 1, "rotary": "interleaved"},
    "gpt_neox": {"causal": 1, "rotary": "half", "fused": "heads"},
    "bloom": {"causal": 1, "fused": "heads", "alibi": True},
    "mpt": {"causal": 1},
    "llama": {"causal": 1, "rotary": "half"}, "mistral": {"causal": 1, "rotary": "half"},
    "mixtral": {"causal": 1, "rotary": "half"}, "qwen2": {"causal": 1, "rotary": "half"},
    "phi": {"causal": 1, "rotary": "half"}, "phi3": {"causal": 1, "rotary": "half"},
    "stablelm": {"causal": 1, "rotary": "half"}, "gemma": {"causal": 1, "rotary": "half"},
    "gemma2": {"causal": 1, "rotary": "half"}, "starcoder2": {"causal": 1, "rotary": "half"},
}
# Parts of some attention modules that change what it computes and that a layer file cannot hold.
FOREIGN = ("q_norm", "k_norm", "query_norm", "key_norm", "q_layernorm", "k_layernorm", "relative_attention_bias",
           "relative_position_bias_table", "distance_embedding", "bias_k", "bias_v")

FAMILIES = {  # names for `weights`: query, key, value, out; fused: one name for the first three
    "attnbench": (["query", "key", "value", "out_proj"], "."),
    "llama": (["q_proj", "k_proj", "v_proj", "o_proj"], "."),
    "bert": (["self.query", "self.key", "self.value", "output.dense"], "."),
    "gpt2": (["c_attn", None, None, "c_proj"], "."),
    "torch": (["in_proj", None, None, "out_proj"], "_"),
}


class Refused(Exception):
    """Something that the user can change; one line."""


class Tensor:
    """An array with its type; bfloat16 is kept as its bits, which rows and columns may be moved of."""

    def __init__(self, data, bfloat16=False):
        self.data, self.bfloat16 = np.asarray(data), bfloat16

    @property
    def shape(self):
        return self.data.shape

    def map(self, change):
        return Tensor(np.ascontiguousarray(change(self.data)), self.bfloat16)

    def float64(self):
        if self.bfloat16:
            return (self.data.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
        return self.data.astype(np.float64)


def from_torch(tensor):
    import torch

    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:
        return Tensor(tensor.view(torch.int16).numpy().view(np.uint16), True)
    return Tensor(tensor.numpy())


def need(module, what):
    try:
        return __import__(module, fromlist=["_"])
    except ImportError:
        raise Refused(f"{what}: the Python package {module.split('.')[0]} is needed, and not installed") from None


# ---- Reading models ----


def read_safetensors(path, wanted):
    package = need("safetensors", path)
    found = {}
    try:
        import torch  # reads bfloat16 too

        framework = "pt"
    except ImportError:
        framework = "numpy"
    with package.safe_open(path, framework=framework) as file:
        for name in file.keys():
            if wanted(name):
                try:
                    tensor = file.get_tensor(name)
                except (TypeError, AttributeError) as error:
                    raise Refused(f"{path}: {name}: {error}; with torch installed this type can be read") from None
                found[name] = from_torch(tensor) if framework == "pt" else Tensor(tensor)
    return found


def read_state(path, wanted):
    """The tensors of a file, by name."""
    if path.endswith(".safetensors"):
        return read_safetensors(path, wanted)
    if path.endswith(".npz"):
        with np.load(path) as file:
            return {name: Tensor(file[name]) for name in file.files if wanted(name)}
    if path.endswith((".pt", ".pth", ".bin")):
        torch = need("torch", path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state) if isinstance(state, dict) else state
        return {name: from_torch(t) for name, t in state.items() if hasattr(t, "detach") and wanted(name)}
    raise Refused(f"{path}: .safetensors, .npz, .pt, .pth, .bin or a folder with config.json is accepted")


def read_model(path, wanted=lambda name: True):
    """Tensors and configuration of a model."""
    if not os.path.exists(path):
        raise Refused(f"{path}: no such file or folder")
    if not os.path.isdir(path):
        return read_state(path, wanted), {}
    config = {}
    for name in ("config.json", "params.json"):
        if os.path.exists(os.path.join(path, name)):
            with open(os.path.join(path, name), encoding="utf-8") as file:
                config.update(json.load(file))
    config.update(config.get("text_config") or {})
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if os.path.exists(os.path.join(path, index)):
            with open(os.path.join(path, index), encoding="utf-8") as file:
                where = json.load(file)["weight_map"]
            state = {}
            for part in sorted({where[name] for name in where if wanted(name)}):
                state.update(read_state(os.path.join(path, part), wanted))
            return state, config
    for name in ("model.safetensors", "pytorch_model.bin", "consolidated.00.pth"):
        if os.path.exists(os.path.join(path, name)):
            return read_state(os.path.join(path, name), wanted), config
    raise Refused(f"{path}: has no model.safetensors or pytorch_model.bin")


# ---- Finding a layer ----


def role_of(name):
    """(role, "weight" or "bias", path of the module) of a tensor's name, or None."""
    for kind in ("weight", "bias"):
        stem = name[: -len(kind) - 1]
        if not name.lower().endswith(kind) or name[-len(kind) - 1 : -len(kind)] not in (".", "_"):
            continue
        for role, aliases in ALIASES.items():
            for alias in aliases.split():
                if stem.lower() == alias.lower() or stem.lower().endswith("." + alias.lower()):
                    return role, kind, stem
    return None


def common_parts(a, b):
    """How many leading parts two dotted names share."""
    count = 0
    for x, y in zip(a.split("."), b.split(".")):
        if x != y:
            break
        count += 1
    return count


def in_layer(name, layer, prefix):
    if prefix is not None:
        return name.startswith(prefix)
    return layer is None or str(layer) in name.split(".")


def find_layer(names, layer, prefix):
    """The tensors of one attention module: {(role, kind): name}."""
    roles = {name: role_of(name) for name in names if in_layer(name, layer, prefix) and role_of(name)}
    starts = [n for n, (role, kind, _) in roles.items() if role in ("query", "qkv") and kind == "weight"]
    if len(starts) != 1:
        raise Refused(f"{len(starts)} attention layers fit --layer {layer}, --prefix {prefix}; one is needed: "
                      + (", ".join(sorted(starts)[:6]) if starts else "`names MODEL` lists them"))
    start = roles[starts[0]][2]
    found = {}
    for wanted in ("query", "key", "value", "qkv", "kv", "out"):
        modules = {stem for role, _, stem in roles.values() if role == wanted}
        if not modules:
            continue
        best = max(common_parts(stem, start) for stem in modules)
        near = sorted(stem for stem in modules if common_parts(stem, start) == best)
        # An output projection of the layer, not that of its feed-forward network.
        if wanted == "out" and best < common_parts(start, start) - 2:
            continue
        if len(near) > 1:
            raise Refused(f"{near[0]} and {near[1]}: two {wanted} projections; --prefix tells them apart")
        found.update({(wanted, kind): n for n, (r, kind, stem) in roles.items() if r == wanted and stem == near[0]})
    return found


def bias_names(found, names):
    """in_proj_bias belongs to q_proj_weight, k_proj_weight, v_proj_weight too."""
    for name in names:
        role = role_of(name)
        if role and role[0] == "qkv" and role[1] == "bias" and ("qkv", "weight") not in found:
            start = role_of(found[("query", "weight")])[2]
            if common_parts(role[2], start) == len(start.split(".")) - 1:
                found[("qkv", "bias")] = name
    return found


# ---- What the layer computes ----


def first(config, *names):
    for name in names:
        if config.get(name) is not None:
            return config[name]
    return None


def settings_of(args, config, layer):
    """Attributes of the layer file, from options, configuration and the type of the model."""
    kind = config.get("model_type", "llama-meta" if "wq" in str(layer.get(("query", "weight"))) else None)
    known = MODELS.get(kind, {"causal": 1, "rotary": "interleaved"} if kind == "llama-meta" else None)
    if known is None and kind is not None and args.causal is None:
        raise Refused(f"model type {kind} is not known here; --causal or --no-causal, and --rotary-style say what it is")
    known = known or {}
    heads = args.heads or first(config, "num_attention_heads", "n_head", "n_heads", "num_heads")
    if not heads:
        raise Refused("the number of heads is not told; --heads N is needed")
    kv_heads = args.kv_heads or first(config, "num_key_value_heads", "n_kv_heads", "num_kv_heads") or heads
    settings = {"num_heads": int(heads), "num_kv_heads": int(kv_heads)}
    causal = known.get("causal", 0) if args.causal is None else args.causal
    if causal:
        settings["causal"] = 1
    window = first(config, "sliding_window") if config.get("use_sliding_window", True) else None
    types = config.get("layer_types")
    if types and args.layer is not None and types[args.layer] == "full_attention":
        window = None
    if window and causal:
        settings["window_left"] = int(window) - 1  # the row itself is one of them
    scale = args.scale if args.scale is not None else known.get("scale")
    if scale is None and config.get("query_pre_attn_scalar"):
        scale = config["query_pre_attn_scalar"] ** -0.5
    if scale is not None:
        settings["scale"] = float(scale)
    if config.get("attn_logit_softcapping"):
        settings["softcap"] = float(config["attn_logit_softcapping"])
    style = args.rotary_style or known.get("rotary")
    if style and style != "none":
        scaling = first(config, "rope_scaling", "rope_parameters") or {}
        if scaling.get("rope_type", scaling.get("type", "default")) not in ("default", "linear") or \
                float(scaling.get("factor") or 1) != 1:
            raise Refused(f"rope_scaling {scaling}: layer files have unscaled angles; another model is accepted")
        settings["rotary_style"] = style
        settings["rotary_theta"] = float(args.rotary_theta or first(config, "rope_theta", "rotary_emb_base") or
                                         scaling.get("rope_theta") or 10000)
    return settings, known


def rotary_dim(args, config, head_dim):
    part = first(config, "partial_rotary_factor", "rotary_pct")
    given = args.rotary_dim or config.get("rotary_dim")
    return int(given) if given else int(head_dim * part) if part else head_dim


def alibi_slopes(heads):
    """Press et al. 2022, section 3, and the authors' code for other numbers of heads."""
    power = 2 ** int(math.log2(heads))
    slopes = [2 ** (-8 * (h + 1) / power) for h in range(power)]
    return slopes + [2 ** (-4 * (2 * h + 1) / power) for h in range(heads - power)]


# ---- Bringing weights into the file's form ----


def is_transposed(name, weight, bias):
    """GPT-2's Conv1D keeps [in,out]; c_attn is three times as wide as high."""
    if not role_of(name)[2].lower().endswith("c_attn") or len(weight.shape) != 2:
        return False
    rows, columns = weight.shape
    return bias is not None and bias.shape[0] == columns != rows or (bias is None and columns == 3 * rows)


def reorder_heads(tensor, heads, kv_heads):
    """Rows of each key-value head's queries, key and value together, into rows of q, k, v."""
    group, rows = heads // kv_heads, tensor.shape[0]
    dim = rows // (heads + 2 * kv_heads)
    if dim * (heads + 2 * kv_heads) != rows:
        raise Refused(f"fused weight of {rows} rows: {heads} query and {kv_heads} key-value heads do not divide it")

    def change(data):
        parts = data.reshape(kv_heads, group + 2, dim, *data.shape[1:])
        return np.concatenate([parts[:, :group].reshape(-1, *data.shape[1:]),
                               parts[:, group].reshape(-1, *data.shape[1:]),
                               parts[:, group + 1].reshape(-1, *data.shape[1:])])

    return tensor.map(change)


def turn_pairs(tensor, heads, dim, rotary, to):
    """Rows of q or k from one rotary style to the other: pair d is rows d, d + dim / 2 (half) or 2 d, 2 d + 1."""
    half = np.arange(rotary).reshape(2, rotary // 2).T.reshape(-1)  # interleaved row n is half row half[n]
    order = np.arange(dim)
    order[:rotary] = half if to == "interleaved" else np.argsort(half)
    rows = (np.arange(heads)[:, None] * dim + order).reshape(-1)
    return tensor.map(lambda data: data[rows])


def split_weights(tensors, settings):
    """{(part, kind): Tensor} of query, key, value and out, whatever is fused; D and Dv."""
    heads, kv_heads = settings["num_heads"], settings["num_kv_heads"]
    weights = {role: t for (role, kind), t in tensors.items() if kind == "weight"}
    v_dim = weights["out"].shape[1] // heads if "out" in weights else None
    if "qkv" in weights:
        rows = weights["qkv"].shape[0]
        dim = (rows - kv_heads * v_dim) // (heads + kv_heads) if v_dim else rows // (heads + 2 * kv_heads)
        v_dim = v_dim or dim
    else:
        dim = weights["query"].shape[0] // heads
        rows = weights["kv"].shape[0] - kv_heads * dim if "kv" in weights else weights["value"].shape[0]
        v_dim = rows // kv_heads
    sizes = {"query": heads * dim, "key": kv_heads * dim, "value": kv_heads * v_dim}
    sizes["out"] = weights["out"].shape[0] if "out" in weights else 0
    result = {}
    for (role, kind), tensor in tensors.items():
        if tensor.shape[0] != sum(sizes[part] for part in PARTS[role]):
            raise Refused(f"{role} {kind} has {tensor.shape[0]} rows; {heads} query and {kv_heads} key-value heads of "
                          f"{dim} do not fit (--heads, --kv-heads)")
        begin = 0
        for part in PARTS[role]:
            result[(part, kind)] = tensor.map(lambda data, b=begin, n=sizes[part]: data[b : b + n])
            begin += sizes[part]
    return result, dim, v_dim


# ---- Hidden states ----


def read_hidden(text):
    """FILE or FILE:KEY of a .npy, .npz or .pt file."""
    path, _, key = text.partition(":")
    if path.endswith(".npy"):
        x = Tensor(np.load(path))
    else:
        state = read_state(path, lambda name: not key or name == key)
        if len(state) != 1:
            raise Refused(f"--hidden {text}: {len(state)} arrays; one is needed, FILE:KEY names it")
        x = next(iter(state.values()))
    if len(x.shape) == 2:
        x = x.map(lambda data: data[None])
    if len(x.shape) != 3:
        raise Refused(f"--hidden {text}: {len(x.shape)} dimensions; [S,E] or [B,S,E] is needed")
    return x


def run_text(args, names):
    """Runs the model over a text: what the layer's projections get, and what its output projection gives."""
    torch, transformers = need("torch", "--text"), need("transformers", "--text")
    with open(args.text, encoding="utf-8") as file:
        text = file.read()
    tokens = transformers.AutoTokenizer.from_pretrained(args.model, local_files_only=True)(
        text, return_tensors="pt", truncation=True, max_length=args.max_tokens)
    model = transformers.AutoModel.from_pretrained(args.model, local_files_only=True, torch_dtype=torch.float32).eval()
    modules, seen = dict(model.named_modules()), {}

    def module(role):
        name = names.get((role, "weight"))
        stem = role_of(name)[2] if name else None
        return next((m for path, m in modules.items() if stem and path and (stem == path or stem.endswith("." + path))),
                    None)

    start, end = module("query") or module("qkv"), module("out")
    if start is None:
        raise Refused("--text: the model has no module of the layer's name; --hidden is accepted")
    start.register_forward_pre_hook(lambda _, inputs: seen.__setitem__("x", inputs[0]))
    if end is not None:
        end.register_forward_hook(lambda _, inputs, output: seen.__setitem__("y", output))
    with torch.no_grad():
        model(**tokens)
    return from_torch(seen["x"]), from_torch(seen["y"]) if "y" in seen else None


# ---- Files ----


def put(group, name, tensor, dtype=None):
    data = tensor.data
    if dtype and not tensor.bfloat16:
        data = data.astype(dtype)
    dataset = group.create_dataset(name, data=data)
    if tensor.bfloat16:
        dataset.attrs["dtype"] = "bfloat16"


def get(dataset):
    kind = dataset.attrs.get("dtype")
    return Tensor(dataset[()], kind in ("bfloat16", b"bfloat16"))


def write_layer(path, settings, weights, names, x, y, title):
    with h5py.File(path + ".tmp", "w") as file:
        file.attrs["schema"] = "attn-layer"
        file.attrs["schema_version"] = 1
        file.attrs["title"] = title
        lists = {key: value for key, value in settings.items() if isinstance(value, (list, np.ndarray))}
        for key, value in settings.items():
            if key not in lists:
                file.attrs[key] = value
        for key, value in lists.items():
            file[key] = np.asarray(value, dtype=np.float64)
        put(file, "x", x)
        for key, tensor in weights.items():
            put(file, "weights/" + names[key], tensor)
        if y is not None:
            put(file, "expected/y", y)
    os.replace(path + ".tmp", path)


def relative_names(found):
    """Names below weights/: without what all of them begin with."""
    stems = [role_of(name)[2].split(".") for name in found.values()]
    shared = min(min(common_parts(".".join(stems[0]), ".".join(s)) for s in stems), min(len(s) for s in stems) - 1)
    return {key: ".".join(name.split(".")[shared:]) for key, name in found.items()}


def export(args):
    _, config = read_model(args.model, lambda name: False)
    listed = list_names(args.model)
    found = bias_names(find_layer(listed, args.layer, args.prefix), listed)
    start = role_of(next(n for (r, k), n in found.items() if r in ("query", "qkv") and k == "weight"))[2]
    module = start.rsplit(".", 1)[0] + "." if "." in start else ""
    foreign = [n for n in listed if n.startswith(module) and any(f in n[len(module):].split(".") for f in FOREIGN)]
    if foreign:
        raise Refused(f"{foreign[0]}: layer files have no place for it; another model is accepted")
    state, _ = read_model(args.model, lambda name: name in found.values() or name == module + "sinks")
    settings, known = settings_of(args, config, found)
    tensors = {key: state[name] for key, name in found.items()}
    for key, name in found.items():
        if key[1] == "weight" and is_transposed(name, tensors[key], tensors.get((key[0], "bias"))):
            for other in [k for k in tensors if k[1] == "weight"]:
                tensors[other] = tensors[other].map(lambda data: data.T)
    if ("qkv", "weight") in tensors and (args.fused_order or known.get("fused", "qkv")) == "heads":
        for key in [k for k in tensors if k[0] == "qkv"]:
            tensors[key] = reorder_heads(tensors[key], settings["num_heads"], settings["num_kv_heads"])
    parts, dim, _ = split_weights(tensors, settings)
    if "rotary_style" in settings:
        settings["rotary_dim"] = rotary_dim(args, config, dim)
    if known.get("alibi"):
        settings["alibi_slopes"] = alibi_slopes(settings["num_heads"])
    if module + "sinks" in state:
        settings["sinks"] = state[module + "sinks"].float64()
    width, y = parts[("query", "weight")].shape[1], None
    if args.text:
        x, y = run_text(args, found)
    elif args.hidden:
        x = read_hidden(args.hidden)
    else:
        x = Tensor(np.random.default_rng(args.seed).standard_normal((1, args.rows, width), dtype=np.float32))
    if x.shape[2] != width:
        raise Refused(f"x is {x.shape[2]} wide; the layer's weights need {width}")
    title = args.title or f"{os.path.basename(os.path.abspath(args.model))}, {module or 'attention'}"
    write_layer(args.output, settings, tensors, relative_names(found), x, y, title)
    print(f"{args.output}: x {list(x.shape)}, " + ", ".join(f"{k} {v}" for k, v in settings.items()
                                                           if not isinstance(v, (list, np.ndarray))))


def list_names(path):
    names = []
    read_model(path, lambda name: names.append(name) or False)
    return names


def show_names(args):
    for name in sorted(list_names(args.model)):
        role = role_of(name)
        if role and role[0] in ("query", "qkv") and role[1] == "weight":
            print(name)


# ---- Back ----


def read_layer(path):
    if not os.path.isfile(path) or not h5py.is_hdf5(path):
        raise Refused(f"{path}: not an HDF5 file; a layer file is needed")
    with h5py.File(path, "r") as file:
        if file.attrs.get("schema") not in ("attn-layer", b"attn-layer") or "weights" not in file:
            raise Refused(f"{path}: a file of schema attn-layer with weights is needed")
        names = []
        file["weights"].visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        tensors = {}
        for name in names:
            role = role_of(name.replace("/", "."))
            if role is None:
                raise Refused(f"{path}: weights/{name}: no name of an attention layer's weight")
            tensors[(role[0], role[1])] = (name.replace("/", "."), get(file["weights"][name]))
        return tensors, {key: value for key, value in file.attrs.items()}


def rename(tensors, settings, family, style):
    """The tensors under the names, in the order and the layout of a family."""
    parts, dim, _ = split_weights({key: t for key, (_, t) in tensors.items()}, settings)
    current = settings.get("rotary_style", "none")
    current = current.decode() if isinstance(current, bytes) else current
    if style and current != "none" and style != current:
        for part, heads in (("query", settings["num_heads"]), ("key", settings["num_kv_heads"])):
            for kind in ("weight", "bias"):
                if (part, kind) in parts:
                    parts[(part, kind)] = turn_pairs(parts[(part, kind)], heads, dim,
                                                     int(settings.get("rotary_dim", dim)), style)
    (names, mark), result = FAMILIES[family], {}
    if names[1] is None:
        for kind in ("weight", "bias"):
            there = [parts[(p, kind)] for p in PARTS["qkv"] if (p, kind) in parts]
            if there and len(there) != 3:
                raise Refused(f"--names {family}: query, key and value all have a {kind}, or none has")
            if there and len({t.shape[1:] for t in there}) != 1:
                raise Refused(f"--names {family}: query, key and value have weights of different widths")
            if there:
                result[f"{names[0]}{mark}{kind}"] = Tensor(np.concatenate([t.data for t in there]), there[0].bfloat16)
    for part, name in zip(PARTS["qkv"] + ["out"], names):
        for kind in ("weight", "bias"):
            if name and (part, kind) in parts and not (names[1] is None and part != "out"):
                result[f"{name}.{kind}"] = parts[(part, kind)]
    if family == "gpt2":
        result = {n: t.map(lambda data: data.T) if n.endswith("weight") else t for n, t in result.items()}
    return result


def write_state(path, tensors):
    if path.endswith(".npz"):
        if any(t.bfloat16 for t in tensors.values()):
            raise Refused(f"{path}: NumPy has no bfloat16; .safetensors or .pt is accepted")
        np.savez(path, **{name: t.data for name, t in tensors.items()})
        return
    if path.endswith(".safetensors") and not any(t.bfloat16 for t in tensors.values()):
        need("safetensors.numpy", path).save_file({name: t.data for name, t in tensors.items()}, path)
        return
    if not path.endswith((".safetensors", ".pt")):
        raise Refused(f"{path}: .safetensors, .npz or .pt is accepted")
    torch = need("torch", path)
    state = {name: torch.from_numpy(t.data.view(np.int16) if t.bfloat16 else t.data) for name, t in tensors.items()}
    state = {name: t.view(torch.bfloat16) if tensors[name].bfloat16 else t for name, t in state.items()}
    if path.endswith(".pt"):
        torch.save(state, path)
    else:
        need("safetensors.torch", path).save_file(state, path)


def weights(args):
    tensors, settings = read_layer(args.layer)
    settings.setdefault("num_kv_heads", settings["num_heads"])
    settings["num_heads"], settings["num_kv_heads"] = int(settings["num_heads"]), int(settings["num_kv_heads"])
    if args.names or args.rotary_style:
        result = rename(tensors, settings, args.names or "attnbench", args.rotary_style)
    else:
        result = dict(tensors.values())
    write_state(args.output, {args.prefix + name: tensor for name, tensor in result.items()})
    print(f"{args.output}: " + ", ".join(f"{args.prefix}{n} {list(t.shape)}" for n, t in result.items()))


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("export", help="a layer file from a model")
    one.add_argument("model")
    one.add_argument("output", metavar="LAYER.h5")
    one.add_argument("--layer", type=int, help="number of the layer, a part of its tensors' names")
    one.add_argument("--prefix", help="what the names of the layer's tensors begin with, instead of --layer")
    one.add_argument("--hidden", metavar="FILE[:KEY]", help="x from a .npy, .npz, .pt or .safetensors file: [S,E] or [B,S,E]")
    one.add_argument("--text", metavar="FILE", help="x from the model over this text, with its y as expected/y")
    one.add_argument("--max-tokens", type=int, default=512)
    one.add_argument("--rows", type=int, default=128, help="rows of random x, where neither is given")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--heads", type=int)
    one.add_argument("--kv-heads", type=int)
    one.add_argument("--causal", dest="causal", action="store_const", const=1)
    one.add_argument("--no-causal", dest="causal", action="store_const", const=0)
    one.add_argument("--scale", type=float)
    one.add_argument("--rotary-style", choices=["none", "half", "interleaved"])
    one.add_argument("--rotary-theta", type=float)
    one.add_argument("--rotary-dim", type=int)
    one.add_argument("--fused-order", choices=["qkv", "heads"], help="rows of a fused weight: q, k, v, or so for each head")
    one.add_argument("--title")
    one.set_defaults(run=export)
    two = commands.add_parser("weights", help="a state_dict from a layer file")
    two.add_argument("layer", metavar="LAYER.h5")
    two.add_argument("output", metavar="STATE")
    two.add_argument("--names", choices=sorted(FAMILIES), help="other names, fused and transposed as there")
    two.add_argument("--prefix", default="")
    two.add_argument("--rotary-style", choices=["half", "interleaved"], help="turn the rows of query and key into this style")
    two.set_defaults(run=weights)
    three = commands.add_parser("names", help="the attention layers of a model")
    three.add_argument("model")
    three.set_defaults(run=show_names)
    return parser.parse_args(argv)


def main(argv):
    args = parse(argv)
    try:
        args.run(args)
    except (Refused, OSError) as error:
        print(f"export_layer: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
