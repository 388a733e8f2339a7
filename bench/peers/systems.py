"""The systems that are compared. Each prepares a case, untimed, and gives back a runner:

    run()      computes once; this is what is timed
    reset()    untimed, before each run
    results()  what the last run computed, float64 arrays by name
    setting    what was chosen, in words

A case that a system cannot compute raises Skipped with the reason.
"""
import ctypes
import importlib
import logging
import time

import numpy as np

from cases import value


class Skipped(Exception):
    """Why a system does not run a case."""


def package(name):
    """Imports a package, or tells that it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Skipped(f"needs the Python package {name} ({error})") from error


class Attn:
    """This project's library, through attn_peer."""

    name = "attn"

    def __init__(self, library, kernel, threads):
        self.kernel, self.threads = kernel, threads
        pointer, text = ctypes.c_void_p, ctypes.c_char_p
        self.library = ctypes.CDLL(library)
        self.library.peer_create.restype = pointer
        self.library.peer_create.argtypes = [text, text, text, ctypes.POINTER(ctypes.c_int64), ctypes.c_int,
                                             ctypes.POINTER(ctypes.c_int64), ctypes.c_int, text, ctypes.c_size_t]
        self.library.peer_kernel.restype = text
        self.library.peer_version.restype = text
        for function, count in (("destroy", 1), ("kernel", 1), ("forward", 6), ("backward", 10)):
            getattr(self.library, "peer_" + function).argtypes = [pointer] * count
        self.version = self.library.peer_version().decode()

    def plan(self, case, pass_name):
        extents = (ctypes.c_int64 * 7)(case.batch, case.heads, case.kv_heads, case.seq, case.keys, case.head_dim,
                                       case.head_dim)
        windows = (ctypes.c_int64 * 2)(case.window - 1 if case.window else -1, -1)
        message = ctypes.create_string_buffer(512)
        plan = self.library.peer_create(pass_name.encode(), self.kernel.encode(), case.dtype.encode(), extents,
                                        int(case.causal), windows, self.threads, message, len(message))
        if not plan:
            raise Skipped(message.value.decode())
        return plan

    def prepare(self, case, data):
        return AttnRunner(self.library, self.plan, case, data)


class AttnRunner:
    def __init__(self, library, plan, case, data):
        self.library, self.data = library, data
        self.backward = case.pass_name == "backward"
        self.out = {"o": np.empty_like(data["q"]), "lse": np.empty(case.shapes["q"][:3], np.float32)}
        forward = plan(case, "forward" if self.backward else case.pass_name)
        self.plans = [forward]
        if self.backward:
            self.plans.append(plan(case, "backward"))
            self.out.update({"d" + name: np.empty_like(data[name]) for name in "qkv"})
            self.execute("forward", forward, "q", "k", "v", "o", "lse")
        self.setting = f"kernel {library.peer_kernel(self.plans[-1]).decode()}"

    def execute(self, function, plan, *names):
        arrays = {**self.data, **self.out}
        getattr(self.library, "peer_" + function)(plan, *(arrays[name].ctypes.data for name in names))

    def reset(self):
        pass

    def run(self):
        if self.backward:
            self.execute("backward", self.plans[-1], "q", "k", "v", "o", "lse", "d_o", "dq", "dk", "dv")
        else:
            self.execute("forward", self.plans[-1], "q", "k", "v", "o", "lse")

    def results(self):
        return {name: value(array) for name, array in self.out.items()}

    def close(self):
        for plan in self.plans:
            self.library.peer_destroy(plan)


class OnnxRuntime:
    """The operator MultiHeadAttention of the domain com.microsoft."""

    name = "onnxruntime"

    def __init__(self, threads):
        self.threads = threads
        self.onnx, self.ort = package("onnx"), package("onnxruntime")
        self.version = self.ort.__version__

    def prepare(self, case, data):
        if case.dtype != "float32":
            raise Skipped(f"its operator has no {case.dtype} on CPUs")
        if case.pass_name == "backward":
            raise Skipped("computes no gradients")
        if case.window:
            raise Skipped("its operator has no window")
        if case.heads != case.kv_heads:
            raise Skipped("its operator shares no key-value heads")
        # Keys and values as [B,S,H D], or as [B,H,S,D]: whichever is faster for this case.
        runners = [OnnxRunner(self.session(case, split), case, data, split) for split in (False, True)]
        return min(runners, key=lambda runner: min(timed(runner) for _ in range(3)))

    def session(self, case, split):
        helper, kind = self.onnx.helper, self.onnx.TensorProto.FLOAT
        width = case.heads * case.head_dim
        folded = [case.batch, case.seq, width]
        keys = list(case.shapes["k"]) if split else [case.batch, case.keys, width]
        node = helper.make_node("MultiHeadAttention", ["q", "k", "v"], ["o"], domain="com.microsoft",
                                num_heads=case.heads, unidirectional=int(case.causal))
        inputs = [helper.make_tensor_value_info(*info) for info in
                  (("q", kind, folded), ("k", kind, keys), ("v", kind, keys))]
        graph = helper.make_graph([node], "peer", inputs, [helper.make_tensor_value_info("o", kind, folded)])
        model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17),
                                                                      helper.make_opsetid("com.microsoft", 1)])
        options = self.ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Its threads wait awake while it computes, and sleep as soon as it has done so.
        options.add_session_config_entry("session.intra_op.allow_spinning", "1")
        options.add_session_config_entry("session.force_spinning_stop", "1")
        return self.ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class OnnxRunner:
    def __init__(self, session, case, data, split):
        self.session, self.shape = session, (case.batch, case.seq, case.heads, case.head_dim)
        self.setting = f"keys and values as {'[B,H,S,D]' if split else '[B,S,H D]'}"
        self.out = np.empty((case.batch, case.seq, case.heads * case.head_dim), np.float32)
        # The arrays must live as long as what is bound to them.
        self.arrays = {name: data[name] if split and name != "q" else fold(data[name]) for name in "qkv"}
        self.binding = session.io_binding()
        for name, array in self.arrays.items():
            self.binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        self.binding.bind_output("o", "cpu", 0, np.float32, self.out.shape, self.out.ctypes.data)

    def reset(self):
        pass

    def run(self):
        self.session.run_with_iobinding(self.binding)

    def results(self):
        return {"o": value(self.out.reshape(self.shape).transpose(0, 2, 1, 3))}

    def close(self):
        pass


def fold(x):
    """[B,H,S,D] as [B,S,H D]."""
    return np.ascontiguousarray(x.transpose(0, 2, 1, 3)).reshape(x.shape[0], x.shape[2], -1)


def timed(runner):
    """Seconds of one run."""
    runner.reset()
    start = time.perf_counter()
    runner.run()
    return time.perf_counter() - start


class Torch:
    """torch.nn.functional.scaled_dot_product_attention."""

    name = "torch"

    def __init__(self, threads):
        self.torch = package("torch")
        self.torch.set_num_threads(threads)
        self.version = self.torch.__version__

    def prepare(self, case, data):
        return TorchRunner(self.torch, case, data)


class TorchRunner:
    """Forward without a record for gradients; backward from the record of one forward pass, which is kept."""

    def __init__(self, torch, case, data):
        self.torch, self.backward = torch, case.pass_name == "backward"
        self.inputs = [tensor(torch, data[name]) for name in "qkv"]
        self.settings = {"is_causal": True} if case.causal else {}
        if case.window:
            self.settings = {"attn_mask": window_mask(torch, case)}
        if case.heads != case.kv_heads:
            self.settings["enable_gqa"] = True
        self.setting = f"scaled_dot_product_attention({', '.join(['q', 'k', 'v', *self.settings])})"
        self.out = None
        if self.backward:
            for x in self.inputs:
                x.requires_grad_(True)
            self.record = self.attend()
            self.d_o = tensor(torch, data["d_o"])

    def attend(self):
        return self.torch.nn.functional.scaled_dot_product_attention(*self.inputs, **self.settings)

    def reset(self):
        self.out = None

    def run(self):
        if self.backward:
            self.out = self.torch.autograd.grad(self.record, self.inputs, self.d_o, retain_graph=True)
        else:
            with self.torch.inference_mode():
                self.out = (self.attend(),)

    def results(self):
        names = ("dq", "dk", "dv") if self.backward else ("o",)
        return {name: x.detach().double().numpy() for name, x in zip(names, self.out)}

    def close(self):
        pass


def window_mask(torch, case):
    """[Sq,Skv], true where visible: the only way to tell it of a window, which makes it compute every pair."""
    row = torch.arange(case.seq)[:, None] + case.keys - case.seq
    key = torch.arange(case.keys)[None, :]
    return (key <= row) & (row - key < case.window)


class TorchFlex(Torch):
    """torch.nn.attention.flex_attention, compiled."""

    name = "torch-flex"

    def prepare(self, case, data):
        if not case.window:
            raise Skipped("run for windows only")
        return FlexRunner(self.torch, case, data)


class FlexRunner:
    def __init__(self, torch, case, data):
        from torch.nn.attention import flex_attention as flex

        def inside(_batch, _head, row, key):
            return (key <= row) & (row - key < case.window)

        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
        self.torch, self.out = torch, None
        self.setting = "torch.compile(flex_attention), block mask made before"
        self.inputs = [tensor(torch, data[name]) for name in "qkv"]
        self.mask = flex.create_block_mask(inside, None, None, case.seq, case.keys, device="cpu")
        self.attend = torch.compile(flex.flex_attention)
        try:
            self.run()
        except Exception as error:  # the compiler, what it needs, or what it was made to compile
            raise Skipped(f"torch.compile: {str(error).strip().splitlines()[0]}") from error

    def reset(self):
        self.out = None

    def run(self):
        with self.torch.no_grad():
            self.out = self.attend(*self.inputs, block_mask=self.mask)

    def results(self):
        return {"o": self.out.double().numpy()}

    def close(self):
        pass


def tensor(torch, array):
    """The same memory as a tensor; uint16 holds bfloat16."""
    if array.dtype == np.uint16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
