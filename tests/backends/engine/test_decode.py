"""The engine's decoder against the reference model, and its sampling against sampling.py."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinybuddy
from tests.conftest import interrupting
from tinybuddy.backends.engine import decoder as face
from tinybuddy.backends.engine.abi import Config, Random, declare
from tinybuddy.backends.engine.build import BASELINE, X86, find_compiler
from tinybuddy.backends.engine.decoder import Decoder, GeneratedText
from tinybuddy.backends.engine.library import KERNELS, load
from tinybuddy.backends.pytorch import TorchBackend
from tinybuddy.config import ModelConfig, SampleConfig
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.formats.hub import read_model
from tinybuddy.formats.references import find_directory
from tinybuddy.generation.decoding import continue_ids
from tinybuddy.sampling import PCG32, probabilities, sample
from tinybuddy.weights import weight_shapes

ENGINE = Path(face.__file__).parent
# The decoder alone: what can be put into one file of C.
DECODER = (
    *("config", "rope", "sample", "decode_model", "decode_pack", "decode", "generate"),
    "dispatch",
)
SOURCES = [ENGINE / f"{name}.c" for name in DECODER]
GOLDEN, SEEDED = (
    json.loads((Path(__file__).parents[2] / "golden" / name).read_text("utf-8"))
    for name in ("greedy.json", "seeded.json")
)
CARD = ModelConfig()


def compile_c(out: Path, *flags: str, sources: Iterable[Path] = SOURCES) -> Path:
    """Compile C with the decoder alone: C11, libc and libm, no warning."""
    warnings = ["-Wall", "-Wextra", "-Werror"]
    command = [
        *find_compiler(),
        "-std=c11",
        "-O3",
        *warnings,
        *flags,
        *map(str, sources),
        "-o",
        str(out),
    ]
    subprocess.run([*command, "-lm"], check=True)
    return out


def open_kernels(kernels: str) -> ctypes.CDLL:
    """The engine for a kind of processor, where this one runs it."""
    try:
        return load(kernels)
    except TinybuddyError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def library() -> ctypes.CDLL:
    return load()


@pytest.fixture(scope="session")
def scalar_library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("engine") / "scalar.so"
    flags = ("-shared", "-fPIC", "-pthread", "-DTB_SCALAR", "-pedantic")
    return declare(ctypes.CDLL(str(compile_c(path, *flags, sources=ENGINE.glob("*.c")))))


def ids_of(
    model: Any, prompt: list[int], count: int, how: SampleConfig, seed: int, eos: int = -1
) -> Iterator[int]:
    """New ids of one text."""
    for _, new in continue_ids(model, [prompt], count, how, [seed], eos):
        yield from new


def random_weights(config: ModelConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights large enough that a wrong place of one shows in the logits."""
    random = np.random.default_rng(seed)
    return {
        name: (
            random.normal(0, 0.5 / np.sqrt(shape[-1]) if len(shape) == 2 else 0.2, shape)
            + (len(shape) == 1)
        ).astype(np.float32)
        if name != "model.embed_tokens.weight"
        else random.normal(0, 0.5, shape).astype(np.float32)
        for name, shape in weight_shapes(config).items()
    }


def shape(
    layers: int, head_dim: int, heads: int, kv_heads: int, inner: int, vocab: int, context: int
) -> ModelConfig:
    return ModelConfig(vocab, head_dim * heads, inner, layers, heads, kv_heads, context)


SHAPES = [
    shape(1, 12, 4, 2, 192, 1024, 128),
    shape(2, 2, 1, 1, 1, 5, 1),
    shape(3, 6, 6, 3, 37, 333, 9),
    shape(4, 10, 5, 1, 101, 259, 40),
    shape(2, 16, 7, 7, 64, 1000, 33),
    shape(1, 34, 3, 1, 7, 130, 70),
    shape(2, 4, 12, 2, 200, 65, 20),
    shape(2, 20, 8, 4, 50, 17, 24),
]


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("config", SHAPES, ids=str)
def test_logits_are_those_of_the_reference(config: ModelConfig, kernels: str):
    weights = random_weights(config)
    decoder = Decoder(config, weights, library=open_kernels(kernels))
    assert decoder.kernels == kernels
    check_logits(config, weights, decoder)


@pytest.mark.parametrize("config", SHAPES, ids=str)
def test_plain_c_without_vectors_computes_the_same(
    config: ModelConfig, scalar_library: ctypes.CDLL
):
    weights = random_weights(config)
    decoder = Decoder(config, weights, library=scalar_library)
    assert decoder.kernels == "scalar"
    check_logits(config, weights, decoder)


@pytest.mark.parametrize("config", [it for it in SHAPES if it.max_position_embeddings > 1], ids=str)
def test_a_stream_may_go_on_with_vectors_of_another_width(
    config: ModelConfig, scalar_library: ctypes.CDLL
):
    """Its bytes, copied into a stream of each other library, give what its own would."""
    weights, ids = random_weights(config), list(range(2))
    libraries = [scalar_library, *(open_kernels(kernels) for kernels in KERNELS)]
    decoders = [Decoder(config, weights, library=library) for library in libraries]
    sizes = {it._library.tb_stream_bytes(it._model.address) for it in decoders}
    assert len(sizes) == 1
    first = decoders[0].stream()
    first.feed(np.array([ids[:1]]))
    source = first.memories[0]
    expected = None
    for decoder in decoders:
        stream = decoder.stream()
        target = stream.memories[0]
        ctypes.memmove(target.address, source.address, sizes.copy().pop())
        logits = stream.feed(np.array([ids[1:]]))
        expected = logits if expected is None else expected
        np.testing.assert_allclose(logits, expected, atol=1e-5, rtol=1e-5)


def check_logits(config: ModelConfig, weights: dict[str, np.ndarray], decoder: Decoder) -> None:
    context = config.max_position_embeddings
    ids = np.random.default_rng(1).integers(0, config.vocab_size, (3, context))
    reference, ours = TorchBackend(config, weights).stream(3), decoder.stream(3)
    begin = 0
    while begin < context:  # first several tokens at once, then single ones
        end = min(context, begin + max(1, context // 2 - begin))
        expected, actual = reference.feed(ids[:, begin:end]), ours.feed(ids[:, begin:end])
        np.testing.assert_allclose(actual, expected, atol=1e-4)
        begin = end


def test_log_likelihoods_are_those_of_the_reference(library: ctypes.CDLL):
    for config in SHAPES:
        weights = random_weights(config)
        ids = np.random.default_rng(1).integers(0, config.vocab_size, (2, 70))
        inputs = ids[:, : config.max_position_embeddings]
        targets = ids[:, -inputs.shape[1] :]
        expected = TorchBackend(config, weights).log_likelihoods(inputs, targets)
        actual = Decoder(config, weights, library=library).log_likelihoods(inputs, targets)
        np.testing.assert_allclose(actual, expected, atol=1e-4)


@pytest.mark.parametrize("config", SHAPES, ids=str)
@pytest.mark.parametrize("bits", [32, 8, 4])
def test_a_text_does_not_feel_its_neighbours(config: ModelConfig, bits: int, library: ctypes.CDLL):
    """Any number side by side, joining and leaving at any token: the same bits."""
    decoder = Decoder(config, random_weights(config), bits=bits, library=library)
    random = np.random.default_rng(2)
    context = config.max_position_embeddings
    texts = [
        random.integers(0, config.vocab_size, int(random.integers(1, context + 1)))
        for _ in range(70)
    ]
    starts = random.integers(0, 4, len(texts))
    streams = [decoder.stream() for _ in texts]
    together: list[list[np.ndarray]] = [[] for _ in texts]
    for now in range(context + 4):
        here = [i for i, t in enumerate(texts) if 0 <= now - starts[i] < len(t)]
        if here:
            ids = np.array([[texts[i][now - starts[i]]] for i in here])
            logits = decoder.join([streams[i] for i in here]).feed(ids)
            for row, i in zip(logits, here, strict=True):
                together[i].append(row)
    for text, rows in list(zip(texts, together, strict=True))[:12]:
        alone, whole = decoder.stream(), decoder.stream()
        for token, row in zip(text, rows, strict=True):
            np.testing.assert_array_equal(alone.feed(np.array([[token]]))[0], row)
        np.testing.assert_array_equal(whole.feed(text[None])[0], rows[-1])


def test_eight_bits_give_nearly_the_same_logits(library: ctypes.CDLL):
    files = read_model(find_directory("tinybuddy-80k-card"))
    exact = Decoder(files.config, files.weights, library=library)
    coarse = Decoder(files.config, files.weights, bits=8, library=library)
    ids = np.array([[1, *GOLDEN["cases"][0]["ids"]]])
    a, b = (
        exact.log_likelihoods(ids[:, :-1], ids[:, 1:]),
        coarse.log_likelihoods(ids[:, :-1], ids[:, 1:]),
    )
    assert np.abs(a - b).max() < 0.15
    logits = exact.stream().feed(ids), coarse.stream().feed(ids)
    assert np.abs(logits[0] - logits[1]).max() < 0.2


@pytest.mark.parametrize("config", SHAPES, ids=str)
@pytest.mark.parametrize("bits", [8, 4])
def test_whole_numbers_are_computed_with_as_what_they_stand_for(
    config: ModelConfig, bits: int, library: ctypes.CDLL, scalar_library: ctypes.CDLL
):
    """Weights that have such numbers already, each row's largest being 127 or 7."""
    levels = {8: 127, 4: 7}[bits]
    random = np.random.default_rng(3)
    weights = random_weights(config)
    for name, weight in weights.items():
        if weight.ndim == 2:
            codes = random.integers(-levels, levels + 1, weight.shape)
            codes[:, 0] = levels
            scales = 2.0 ** random.integers(-7, -4, (len(codes), 1)) / levels
            weights[name] = (codes * scales).astype(np.float32)
    ids = random.integers(0, config.vocab_size, (1, config.max_position_embeddings))
    exact = Decoder(config, weights, library=library).stream().feed(ids)
    for one in (library, scalar_library):
        found = Decoder(config, weights, bits=bits, library=one).stream().feed(ids)
        np.testing.assert_allclose(found, exact, atol=1e-4)


@pytest.fixture(scope="session")
def card(library: ctypes.CDLL) -> Decoder:
    files = read_model(find_directory("tinybuddy-80k-card"))
    return Decoder(files.config, files.weights, library=library)


@pytest.mark.parametrize("kernels", [*KERNELS, "scalar"])
def test_texts_are_golden(kernels: str, scalar_library: ctypes.CDLL):
    files = read_model(find_directory("tinybuddy-80k-card"))
    library = scalar_library if kernels == "scalar" else open_kernels(kernels)
    decoder = Decoder(files.config, files.weights, library=library)
    for case in GOLDEN["cases"] + SEEDED["cases"]:
        prompt = [files.tokenizer.bos, *files.tokenizer.encode(case["prompt"])]
        how = SampleConfig(**case.get("settings", {"temperature": 0}))
        new = ids_of(decoder, prompt, len(case["ids"]), how, case.get("seed", 0))
        assert list(new) == case["ids"], case


SAMPLINGS = [
    SampleConfig(),
    SampleConfig(top_k=0),
    SampleConfig(top_k=0, temperature=1.0, top_p=0.9),
    SampleConfig(top_k=20, temperature=1.2, top_p=0.95, min_p=0.02),
    SampleConfig(repetition_penalty=1.3),
    SampleConfig(repetition_penalty=1.1, top_k=0, min_p=0.05),
    SampleConfig(temperature=0, repetition_penalty=1.2),
    SampleConfig(top_k=2000, top_p=0.5, temperature=1.5),
]


@pytest.mark.parametrize("how", SAMPLINGS, ids=str)
@pytest.mark.parametrize("prompt", ["", "Once upon a time", "Tom saw a dog. " * 30])
def test_one_seed_tells_one_story(how: SampleConfig, prompt: str, card: Decoder):
    """Over several contexts' length, so it slides; and the prompt alone may be too long."""
    model = tinybuddy.load("tinybuddy-80k-card", backend="torch")
    ids, eos = [model.tokenizer.bos, *model.tokenizer.encode(prompt)], model.tokenizer.eos
    for seed in (0, 7):
        expected = list(ids_of(model.backend, ids, 300, how, seed, eos))
        assert list(ids_of(card, ids, 300, how, seed, eos)) == expected


def test_stories_side_by_side_are_those_told_alone(card: Decoder):
    how = SampleConfig(repetition_penalty=1.1)
    prompts = [[1] + [40 + i] * (i * 3) for i in range(70)]
    alone = [list(ids_of(card, p, 150, how, i, 2)) for i, p in enumerate(prompts)]
    waiting = [GeneratedText(card, p, 150, how, i, 2) for i, p in enumerate(prompts)]
    going: list[GeneratedText] = []
    told = list(waiting)
    while waiting or going:
        going = [s for s in going if not s.ended] + waiting[:5]
        waiting = waiting[5:]
        card.advance(going, 3)
    assert [s.new_ids() for s in told] == alone


def draw(
    library: ctypes.CDLL, logits: np.ndarray, how: SampleConfig, seed: int, seen: list[int]
) -> int:
    random = Random()
    library.tb_random_seed(ctypes.byref(random), seed)
    flags = np.zeros(len(logits), np.uint8)
    flags[seen] = 1
    memory = face._Memory(library.tb_sample_bytes(len(logits)))
    logits = np.ascontiguousarray(logits, np.float32)
    return int(
        library.tb_sample(
            logits.ctypes.data,
            len(logits),
            ctypes.byref(face._sampling(how)),
            flags.ctypes.data if seen else None,
            ctypes.byref(random),
            memory.address,
        )
    )


def test_random_numbers_are_those_of_pcg(library: ctypes.CDLL):
    random = Random()
    for seed in (0, 42, 2**63 - 1):
        library.tb_random_seed(ctypes.byref(random), seed)
        reference = PCG32(seed)
        for _ in range(50):
            assert library.tb_random_next(ctypes.byref(random)) == reference.next_uint32()


values = hnp.arrays(np.float32, st.integers(1, 200), elements=st.floats(-20, 20, width=32))
ways = st.builds(
    SampleConfig,
    repetition_penalty=st.floats(0.5, 2) | st.just(1.0),
    temperature=st.floats(0.05, 3) | st.just(0.0),
    top_k=st.integers(0, 210),
    top_p=st.floats(0, 1) | st.just(1.0),
    min_p=st.floats(0, 0.9) | st.just(0.0),
)


@settings(max_examples=1000, deadline=None)
@given(values, ways, st.integers(0, 2**63 - 1), st.data())
def test_draws_are_those_of_the_definition(
    library: ctypes.CDLL, logits: np.ndarray, how: SampleConfig, seed: int, data: st.DataObject
):
    seen = data.draw(st.lists(st.integers(0, len(logits) - 1), max_size=5))
    drawn = draw(library, logits, how, seed, seen)
    expected = sample(logits, how, PCG32(seed), seen)
    if drawn == expected:
        return
    # Only where a sum meets a threshold to the last digits may the two ways of adding up differ.
    kept = probabilities(logits, how, seen)
    running, u = np.cumsum(kept), PCG32(seed).uniform()
    near_border = np.abs(running / running[-1] - u).min() < 1e-12
    without = probabilities(
        logits, SampleConfig(**asdict(how) | {"top_p": 1.0, "min_p": 0.0}), seen
    )
    before = np.cumsum(np.sort(without)[::-1])
    near_top_p = how.top_p < 1 and np.abs(before - how.top_p).min() < 1e-12
    near_min_p = np.abs(kept / kept.max() - how.min_p).min() < 1e-12
    assert near_border or near_top_p or near_min_p


@pytest.mark.parametrize("how", SAMPLINGS, ids=str)
def test_many_draws_are_those_of_the_definition(how: SampleConfig, library: ctypes.CDLL):
    random = np.random.default_rng(3)
    for seed in range(500):
        logits = random.normal(0, random.uniform(0.1, 5), 1024).astype(np.float32)
        assert draw(library, logits, how, seed, [1, 5]) == sample(logits, how, PCG32(seed), [1, 5])


@pytest.mark.parametrize("how", SAMPLINGS, ids=str)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nothing_is_drawn_from_what_is_no_number(
    how: SampleConfig, bad: float, library: ctypes.CDLL
):
    logits = np.zeros(300, np.float32)
    logits[100] = bad
    assert draw(library, logits, how, 0, [1]) == -1
    assert draw(library, np.full(300, -np.inf), how, 0, [1]) == -1
    logits[100] = -np.inf
    assert draw(library, logits, how, 0, [1]) != 100


def refused(call: Callable[[], object], kind: type[TinybuddyError] = TinybuddyError) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value).count(". ") == 0 and str(caught.value).endswith(".")


def test_what_cannot_be_is_refused_in_a_sentence(library: ctypes.CDLL):
    config = shape(1, 4, 2, 1, 8, 10, 6)
    weights = random_weights(config)
    decoder = Decoder(config, weights, library=library)
    name = "model.norm.weight"
    for wrong in (weights[name][:-1], weights[name].astype(np.float64), weights[name][None]):
        refused(lambda wrong=wrong: Decoder(config, weights | {name: wrong}, library=library))
    lacking = {k: v for k, v in weights.items() if k != name}
    refused(lambda: Decoder(config, lacking, library=library))
    for ids in ([[10]], [[-1]], [[2**40]], [[1] * 7], [[2**32 + 1]], [[1, -(2**32)]]):
        refused(lambda ids=ids: decoder.stream().feed(np.array(ids)))
    stream = decoder.stream()
    refused(lambda: stream.feed(np.array([[1], [1]])))
    refused(lambda: stream.feed(np.zeros((1, 0), np.int64)))
    first = stream.feed(np.array([[1, 2, 3, 4, 5, 6]]))
    refused(lambda: stream.feed(np.array([[1]])))
    with pytest.raises(TinybuddyError):  # a refused step changes none of its texts
        decoder.join([fresh := decoder.stream(), stream]).feed(np.array([[1], [1]]))
    np.testing.assert_array_equal(fresh.feed(np.array([[1, 2, 3, 4, 5, 6]])), first)
    how = SampleConfig()
    refused(lambda: GeneratedText(decoder, [], 5, how, 0), UsageError)
    refused(lambda: GeneratedText(decoder, [10], 5, how, 0))
    story = GeneratedText(decoder, [1], 5, how, 0)
    refused(lambda: decoder.advance([story, story], 1), UsageError)
    other = Decoder(config, weights, library=library)
    refused(lambda: other.advance([story], 1), UsageError)


def test_impossible_shapes_have_no_size(library: ctypes.CDLL):
    good = {name: getattr(CARD, name) for name in CARD.__dataclass_fields__} | {"bits": 32}
    assert library.tb_packed_bytes(ctypes.byref(Config(**good)))
    for name in good:
        for value in (0, -1, -(2**31), 2**31 - 1) if name[0] != "r" else (0.0, -1.0, 1e30, np.nan):
            wrong = Config(**good | {name: value})
            assert library.tb_packed_bytes(ctypes.byref(wrong)) == 0, (name, value)
            assert library.tb_model_bytes(ctypes.byref(wrong)) == 0


def test_weights_that_are_no_numbers_end_in_a_sentence(library: ctypes.CDLL):
    config = shape(1, 4, 2, 1, 8, 40, 6)
    for bad in (np.nan, np.inf):
        weights = random_weights(config)
        weights["model.layers.0.mlp.up_proj.weight"][3] = bad
        for bits in (32, 8, 4):
            decoder = Decoder(config, weights, bits=bits, library=library)
            decoder.stream().feed(np.array([[1, 2]]))
        decoder = Decoder(config, weights, library=library)
        refused(lambda decoder=decoder: list(ids_of(decoder, [1], 9, SampleConfig(), 0)))


def test_a_story_that_breaks_leaves_its_neighbours(card: Decoder):
    how = SampleConfig(repetition_penalty=1.1)
    stories = [GeneratedText(card, [1, 40 + i], 30, how, i) for i in range(40)]
    alone = [list(ids_of(card, [1, 40 + i], 30, how, i)) for i in range(40)]
    for story in stories[1::3]:  # such a penalty makes no number of what was seen
        story.native.sampling.repetition_penalty = np.nan
    card.advance(stories, 40)
    for i, story in enumerate(stories):
        assert story.ended
        assert story.broken == (i % 3 == 1)
        assert story.new_ids() == ([] if story.broken else alone[i])


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_ctrl_c_ends_a_long_tale(library: ctypes.CDLL):
    """The first step of many long prompts takes more than a second here."""
    config = shape(8, 64, 8, 8, 2048, 256, 64)
    decoder = Decoder(config, random_weights(config), library=library)
    stories = [GeneratedText(decoder, [1] * 60, 9, SampleConfig(), i) for i in range(64)]
    interrupter = interrupting()
    with pytest.raises(KeyboardInterrupt):
        for _ in range(1000):
            decoder.advance(stories, 4)
    assert not all(story.ended for story in stories)
    for thread in threading.enumerate():  # the call's own ends soon after it
        if thread.name.startswith("Thread-"):
            while thread.ident is None:  # Ctrl-C came while it was being started
                pass
            thread.join(timeout=60)
            assert not thread.is_alive()
    assert not interrupter.is_alive()


@pytest.mark.parametrize("how", [SampleConfig(temperature=0), SampleConfig(top_k=2)], ids=str)
def test_the_largest_floats_are_drawn_from(how: SampleConfig, library: ctypes.CDLL):
    largest = np.array([3.4028e38, 0, 1], np.float32)
    assert draw(library, largest, how, 0, []) == 0
    penalised = SampleConfig(temperature=how.temperature, top_k=2, repetition_penalty=0.01)
    assert draw(library, np.array([1e37, 0, 1], np.float32), penalised, 0, [0]) == 0


def test_all_of_the_engine_is_plain_c_too(tmp_path: Path):
    for source in ENGINE.glob("*.c"):
        flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-DTB_SCALAR", "-fPIC"]
        command = [*find_compiler(), *flags, "-c", str(source), "-o", str(tmp_path / "x.o")]
        subprocess.run(command, check=True)


def test_a_long_story_grows_as_it_is_told(card: Decoder):
    """Asked for a billion tokens, it takes memory for those that come."""
    new = ids_of(card, [1], 10**12, SampleConfig(), 3)
    assert len([next(new) for _ in range(3000)]) == 3000


def test_a_flag_stops_it(card: Decoder, library: ctypes.CDLL):
    story = GeneratedText(card, [1], 1000, SampleConfig(), 0)
    story.make_room(1000)
    pointers = (ctypes.c_void_p * 1)(ctypes.addressof(story.native))
    stop = ctypes.c_int32(1)
    result = library.tb_generate(
        card._model.address, card._scratch.address, 1, pointers, 1000, ctypes.byref(stop)
    )
    assert result == 0 and story.new_ids() == []


SANITIZED = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("inputs", [3_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_sanitizers_find_nothing_in_hostile_inputs(inputs: int, kernels: str, tmp_path: Path):
    open_kernels(kernels)
    main = Path(__file__).with_name("fuzz_decode.c")
    flags = [*SANITIZED, "-O1", *(BASELINE | X86)[kernels], "-I", str(ENGINE), str(main)]
    (tmp_path / "empty.c").write_text("int main(void) { return 0; }", "utf-8")
    probe = [*find_compiler(), *SANITIZED, str(tmp_path / "empty.c"), "-o", str(tmp_path / "empty")]
    if subprocess.run(probe).returncode:
        pytest.skip("this compiler has no sanitizers")
    program = compile_c(tmp_path / "fuzz", *flags)
    done = subprocess.run([program, str(inputs), "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f": {inputs} inputs" in done.stdout
