"""Whoever generates stories for `decode_speed.py`, behind one interface.

A story begins with `<bos>` and fills the context: `<eos>` is a token like any other, so that all
generate equally many. To get ready for one (to empty a cache, to seed) is not timed, for anybody;
to compute, to draw and to hand the id over to the next step is.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tinybuddy.config import SampleConfig
from tinybuddy.formats.llama2c import write_weights
from tinybuddy.formats.loaded import LoadedModel

Ids = list[list[int]]


class MissingError(Exception):
    """A peer is not installed; says what to do."""


class Generator:
    """A peer.

    Attributes:
        version: what it is, exactly.
        exact: whether its best tokens must be those of the engine in float32.
        top_k: whether it can draw from the best tokens alone.
    """

    version = ""
    exact = True
    top_k = True

    def begin(self, sample: SampleConfig, seed: int) -> Callable[[], Ids]:
        """Get ready, and return what generates one story or several at once."""
        raise NotImplementedError

    def generate(
        self,
        sample: SampleConfig,
        seed: int,
        seconds: float = 0.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> tuple[Ids, float]:
        """Tell for about so long, one story at least: the latest ids, and tokens per second."""
        told, spent, ids = 0, 0.0, []
        while not told or spent < seconds:
            go = self.begin(sample, seed)
            began = clock()
            ids = go()
            spent += clock() - began
            told += sum(map(len, ids))
            seed += len(ids)
        return ids, told / spent


class Engine(Generator):
    """The engine of this package."""

    def __init__(self, model: LoadedModel, texts: int = 1, int8: bool = False) -> None:
        import tinybuddy
        from tinybuddy.backends.engine.decoder import Decoder

        self.decoder = Decoder(model.config, model.weights, bits=8 if int8 else 32)
        self.texts, self.exact = texts, not int8
        self.length = model.config.max_position_embeddings - 1
        self.bos = model.tokenizer.bos
        self.version = f"tinybuddy {tinybuddy.__version__}, {self.decoder.kernels}"

    def begin(self, sample: SampleConfig, seed: int) -> Callable[[], Ids]:
        """Get ready."""
        from tinybuddy.backends.engine.decoder import GeneratedText

        stories = [
            GeneratedText(self.decoder, [self.bos], self.length, sample, seed + text)
            for text in range(self.texts)
        ]
        for story in stories:
            story.make_room(self.length)

        def go() -> Ids:
            self.decoder.advance(stories, self.length)
            return [story.new_ids() for story in stories]

        return go


class Numpy(Generator):
    """Our decoder in NumPy alone."""

    def __init__(self, model: LoadedModel) -> None:
        import numpy as np
        from peers.numpy_decoder import NumpyDecoder

        self.decoder = NumpyDecoder(model.config, model.weights)
        self.length, self.bos = model.config.max_position_embeddings - 1, model.tokenizer.bos
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        self.version = f"numpy {np.__version__}, {blas['name']} {blas['version']}"

    def begin(self, sample: SampleConfig, seed: int) -> Callable[[], Ids]:
        """Get ready."""
        return lambda: [self.decoder.generate(self.bos, self.length, sample, seed)]


class Torch(Generator):
    """``model.py`` with its key-value cache, and a draw that stays in PyTorch."""

    def __init__(self, model: LoadedModel) -> None:
        try:
            import torch
        except ImportError:
            raise MissingError("pip install torch") from None
        from tinybuddy.backends.pytorch import TorchBackend

        self.torch = torch
        self.model = TorchBackend(model.config, model.weights).model
        self.length, self.bos = model.config.max_position_embeddings - 1, model.tokenizer.bos
        self.version = f"torch {torch.__version__}"

    def begin(self, sample: SampleConfig, seed: int) -> Callable[[], Ids]:
        """Get ready."""
        from tinybuddy.backends.llama import Cache

        torch = self.torch
        torch.manual_seed(seed)
        cache, first = Cache(self.model), torch.tensor([[self.bos]])

        def draw(logits: torch.Tensor) -> torch.Tensor:
            if sample.temperature == 0:
                return logits.argmax(-1)
            if not sample.top_k:
                return torch.multinomial((logits / sample.temperature).softmax(-1), 1)[0]
            best, ids = logits.topk(sample.top_k)
            return ids[0, torch.multinomial((best / sample.temperature).softmax(-1), 1)[0]]

        @torch.inference_mode()
        def go() -> Ids:
            ids, new = [], first
            for _ in range(self.length):
                new = draw(self.model(new, cache)[:, -1]).view(1, 1)
                ids.append(new)
            return torch.cat(ids, dim=1).tolist()

        return go


class Transformers(Generator):
    """``LlamaForCausalLM.generate``."""

    def __init__(self, model: LoadedModel, folder: Path) -> None:
        try:
            import torch
            import transformers
        except ImportError:
            raise MissingError("pip install torch transformers") from None
        self.torch = torch
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
        # Without an <eos> in its settings it neither ends early nor looks for the end.
        self.model.generation_config = transformers.GenerationConfig(
            bos_token_id=model.tokenizer.bos, pad_token_id=0, eos_token_id=None, use_cache=True
        )
        self.length, self.bos = model.config.max_position_embeddings - 1, model.tokenizer.bos
        self.version = f"transformers {transformers.__version__}, torch {torch.__version__}"

    def begin(self, sample: SampleConfig, seed: int) -> Callable[[], Ids]:
        """Get ready."""
        self.torch.manual_seed(seed)
        prompt = self.torch.tensor([[self.bos]])
        options = {"do_sample": False}
        if sample.temperature:
            options = {"do_sample": True, "temperature": sample.temperature, "top_k": sample.top_k}
        return lambda: self.model.generate(
            prompt,
            attention_mask=self.torch.ones_like(prompt),
            max_new_tokens=self.length,
            **options,
        )[:, 1:].tolist()


class LlamaCpp(Generator):
    """``llama_decode`` and llama.cpp's own samplers, through the lowest level of its bindings."""

    def __init__(self, model: LoadedModel, folder: Path, weights: str = "float32") -> None:
        try:
            import llama_cpp

            from tinybuddy.exporters.gguf import write
        except ImportError:
            raise MissingError("pip install llama-cpp-python gguf") from None
        self.api = api = llama_cpp
        path = folder / f"{weights}.gguf"
        write(model, path, weights)
        self.silent = api.llama_log_callback(lambda level, text, data: None)
        api.llama_log_set(self.silent, ctypes.c_void_p())
        api.llama_backend_init()
        options = api.llama_context_default_params()
        options.n_ctx = options.n_batch = options.n_ubatch = model.config.max_position_embeddings
        options.n_threads = options.n_threads_batch = 1
        options.type_k = options.type_v = 0  # float32, as everybody's
        options.flash_attn_type = 0  # without it a head of so few numbers is faster
        options.no_perf = True
        self.model = api.llama_model_load_from_file(
            os.fsencode(path), api.llama_model_default_params()
        )
        self.context = api.llama_init_from_model(self.model, options)
        self.memory = api.llama_get_memory(self.context)
        self.batch = api.llama_batch_init(1, 0, 1)
        self.batch.n_tokens = self.batch.n_seq_id[0] = self.batch.logits[0] = 1
        self.batch.seq_id[0][0] = 0
        self.length, self.bos = model.config.max_position_embeddings - 1, model.tokenizer.bos
        system = api.llama_print_system_info().decode().strip(" |")
        self.version = f"llama-cpp-python {api.__version__}: {system}"

    def begin(self, sample: SampleConfig, seed: int) -> Callable[[], Ids]:
        """Get ready."""
        api, context, batch = self.api, self.context, self.batch
        api.llama_memory_clear(self.memory, True)
        chain = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
        parts = [api.llama_sampler_init_greedy()]
        if sample.temperature:
            parts = [api.llama_sampler_init_top_k(sample.top_k)] if sample.top_k else []
            parts.append(api.llama_sampler_init_temp(sample.temperature))
            parts.append(api.llama_sampler_init_dist(seed))
        for part in parts:
            api.llama_sampler_chain_add(chain, part)

        def go() -> Ids:
            ids, token = [], self.bos
            for position in range(self.length):
                batch.token[0], batch.pos[0] = token, position
                if api.llama_decode(context, batch):
                    raise RuntimeError("llama_decode failed")
                token = api.llama_sampler_sample(chain, context, -1)
                ids.append(token)
            api.llama_sampler_free(chain)
            return [ids]

        return go


class Llama2c(Generator):
    """``run.c``, compiled here with the best of its flags; it has no top-k."""

    top_k = False
    FLAGS = (
        ["-Ofast", "-march=native"],
        ["-Ofast", "-march=native", "-mprefer-vector-width=512"],
    )

    def __init__(self, model: LoadedModel, folder: Path) -> None:
        if not (source := os.environ.get("RUN_C")):
            raise MissingError("set RUN_C to the path of its run.c")
        self.path = folder / "model.bin"
        write_weights(self.path, model.config, model.weights)
        code, compiler = Path(source).resolve(), os.environ.get("CC", "gcc")
        driver = Path(__file__).with_name("llama2c.c")
        best = 0.0
        for number, flags in enumerate(self.FLAGS):
            program = folder / f"run{number}"
            define = f'-DRUN_C="{code}"'
            done = subprocess.run([compiler, *flags, "-w", define, driver, "-o", program, "-lm"])
            if done.returncode:  # a flag that this processor's compiler does not have
                continue
            speed = max(self._run(program, 0.8, run, 0.1)[1] for run in range(5))
            if speed > best:
                best, self.program, self.flags = speed, program, flags
        if not best:
            raise MissingError(f"{compiler} could not compile {code}")
        compilers = subprocess.run([compiler, "--version"], capture_output=True, encoding="utf-8")
        self.version = (
            f"run.c {hashlib.sha256(code.read_bytes()).hexdigest()[:12]}, "
            f"{compilers.stdout.splitlines()[0]}, {' '.join(self.flags)}"
        )

    def generate(
        self,
        sample: SampleConfig,
        seed: int,
        seconds: float = 0.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> tuple[Ids, float]:
        """Tell in a process of its own, which times itself."""
        return self._run(self.program, sample.temperature, seed, seconds)

    def _run(
        self, program: Path, temperature: float, seed: int, seconds: float
    ) -> tuple[Ids, float]:
        command = [program, self.path, str(temperature), str(seed + 1), str(seconds)]
        done = subprocess.run(command, capture_output=True, check=True, encoding="utf-8")
        speed, ids = done.stdout.splitlines()
        return [[int(token) for token in ids.split()]], float(speed)
