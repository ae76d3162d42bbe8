"""The format c: compiled here by gcc and clang, watched by sanitizers, and run on a Cortex-M."""

from __future__ import annotations

import json
import random
import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.exporters.conftest import MODELS
from tests.exporters.unicode_kinds import header
from tinybuddy import __version__
from tinybuddy.backends import open_backend
from tinybuddy.config import ModelConfig, SampleConfig
from tinybuddy.defaults import DEFAULT_MODEL
from tinybuddy.errors import TinybuddyError
from tinybuddy.exporters import c
from tinybuddy.exporters.c import check, compare_output, expected, write
from tinybuddy.exporters.session import export
from tinybuddy.formats.compact import MAX_PARAMETERS
from tinybuddy.formats.loaded import LoadedModel, ModelFiles
from tinybuddy.formats.references import open_model
from tinybuddy.generation.decoding import continue_ids
from tinybuddy.quantization import quantized
from tinybuddy.tokenizer import Tokenizer
from tinybuddy.tokenizer.assembly import unigram
from tinybuddy.tokenizer.training import train_tokenizer
from tinybuddy.weights import random_weights

HERE = Path(__file__).parent
PACKAGE = Path(c.__file__).parent
WEIGHTS = ("int8", "float32", "int4")
STRICT = ["-std=c99", "-O1", "-g", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-ffp-contract=off"]
SANITIZED = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

Reference = Callable[[str], str]


def built(out: Path, main: Path, program: Path, compiler: str = "gcc") -> Path:
    """Compile an export and a program, strictly, for the sanitizers to watch."""
    if not shutil.which(compiler):
        pytest.skip(f"needs {compiler}")
    sources = [str(path) for path in sorted((out / "src").rglob("*.c"))]
    command = [compiler, *STRICT, *SANITIZED, f"-I{out / 'src'}", str(main), *sources]
    done = subprocess.run([*command, "-o", str(program), "-lm"], capture_output=True, text=True)
    if "cannot find" in done.stderr and "asan" in done.stderr:
        pytest.skip(f"{compiler} has no sanitizers here: apt-get install libclang-rt-dev")
    assert done.returncode == 0, done.stderr[:3000]
    return program


def output(program: Path, *arguments: object, input: bytes = b"") -> str:
    command = [str(program), *map(str, arguments)]
    done = subprocess.run(command, input=input, capture_output=True)
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")[-3000:]
    return done.stdout.decode("ascii")


def odd(tokenizer: Tokenizer, seed: int = 0) -> ModelFiles:
    """A model that no size of the engine's divides."""
    shape = ModelConfig(tokenizer.vocab_size + 3, 20, 33, 2, 2, 1, 19)
    return ModelFiles(shape, random_weights(shape, seed, 0.4), tokenizer, SampleConfig(top_k=0))


# ---- the programs that it comes with ----


@pytest.mark.parametrize("name", MODELS)
def test_it_generates_what_the_model_does(name: str, reference: Reference, tmp_path: Path):
    done = export("c", reference(name), tmp_path / "story")
    if not any(map(shutil.which, c.COMPILERS)):
        assert done.checked.startswith("not checked: a C compiler")
    else:
        assert done.checked.endswith("it generates the golden texts and the same story")


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("weights", WEIGHTS)
def test_sanitizers_find_nothing(
    name: str, compiler: str, weights: str, reference: Reference, tmp_path: Path
):
    model = open_model(reference(name))
    write(model, tmp_path, weights)
    program = built(tmp_path, tmp_path / "test" / "golden.c", tmp_path / "golden", compiler)
    cases = expected(model, c.BITS[weights])  # type: ignore[arg-type]
    compare_output(cases, output(program), tmp_path, compiler)
    assert sum(len(case.new) for case in cases) > 100


@pytest.mark.slow
@pytest.mark.parametrize("weights", WEIGHTS)
def test_any_shape_fits(weights: str, stories: list[str], tmp_path: Path):
    model = odd(train_tokenizer(stories, 97, kind="unigram"))
    write(model, tmp_path, weights)
    check(model, tmp_path, weights)
    program = built(tmp_path, HERE / "c_driver.c", tmp_path / "driver")
    _, cache, cache_room, scratch, scratch_room = map(int, output(program, "sizes").split())
    assert (cache, scratch) == (cache_room, scratch_room)


SETTINGS = [
    SampleConfig(temperature=0, repetition_penalty=1.3),
    SampleConfig(temperature=0.9, top_k=0),
    SampleConfig(temperature=1.2, top_k=30, top_p=0.9, min_p=0.02, repetition_penalty=1.1),
]


@pytest.mark.slow
@pytest.mark.parametrize("text", ["", "One day", "Once there was a cat who ran. " * 40])
def test_every_setting_draws_as_in_python(text: str, tmp_path: Path):
    model = open_model(DEFAULT_MODEL)
    write(model, tmp_path, "int8")
    program = built(tmp_path, HERE / "c_driver.c", tmp_path / "driver")
    backend = open_backend(model.config, quantized(model.weights, 8))
    ids = [model.tokenizer.bos, *model.tokenizer.encode(text)]
    for seed, how in enumerate(SETTINGS):
        parts = continue_ids(backend, [ids], 300, how, [seed], model.tokenizer.eos)
        new = [id for _, part in parts for id in part]
        numbers = asdict(how)
        order = ("repetition_penalty", "temperature", "top_p", "min_p", "top_k")
        command = ("story", seed, 300, *(numbers[key] for key in order))
        found = [int(word) for word in output(program, *command, input=text.encode()).split()]
        assert found == [*new, 0 if len(new) == 300 else -1]


@pytest.mark.slow
def test_cmake_builds_and_tests_it(tmp_path: Path):
    if not shutil.which("cmake"):
        pytest.skip("needs cmake")
    out = export("c", DEFAULT_MODEL, tmp_path / "story").path
    for command in (
        ["cmake", "-S", out, "-B", tmp_path / "build"],
        ["cmake", "--build", tmp_path / "build"],
        ["ctest", "--test-dir", tmp_path / "build", "--output-on-failure"],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "1 tests passed" in done.stdout or "100% tests passed" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_the_header_is_cpp_too(compiler: str, tmp_path: Path):
    """As Arduino sketches are."""
    if not shutil.which(compiler):
        pytest.skip(f"needs {compiler}")
    write(open_model(DEFAULT_MODEL), tmp_path, "int8")
    main = tmp_path / "main.cpp"
    main.write_text('#include "tinybuddy.h"\nint main() { static buddy b; return buddy_init(&b); }')
    sources = [str(path) for path in sorted((tmp_path / "src").rglob("*.c"))]
    objects = tmp_path / "objects"
    objects.mkdir()
    subprocess.run(["cc", "-std=c99", "-c", *sources], cwd=objects, check=True)
    flags = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{tmp_path / 'src'}"]
    parts = [str(path) for path in objects.iterdir()]
    program = tmp_path / "main"
    subprocess.run([compiler, *flags, str(main), *parts, "-o", str(program), "-lm"], check=True)
    assert subprocess.run([program]).returncode == 0


# ---- the tokenizer ----

PIECES = [
    *(
        b" ",
        b"  ",
        b"\n",
        b"\n\n",
        b"\t \r",
        b"'s",
        b"'ll",
        b"'re",
        b"'",
        b"''d",
        b"!?",
        b"12",
        b"x3",
    ),
    *(b"<eos>", b"<bos>", b"\0", b"Once upon", b" a", b"time", b"Tim", b" and", b"aaaaaaaa", b"."),
    *(
        "é",
        "日本",
        "😀",
        "\u00a0",
        "\u3000",
        "\u2028",
        "\ufffd",
        "²",
        "ⅷ",
        "\u02bc",
        "\u0301",
        "ß",
        "…",
    ),
    *(b"\xff", b"\xc3", b"\xe6\x97", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xf4\x90", b"\xc0\xaf"),
]


def texts(count: int, stories: list[str]) -> list[bytes]:
    """Any bytes: what training has seen, what it has not, and what is no UTF-8."""
    dice = random.Random(1)
    found = [b"", *stories[0].encode("utf-8").split(b"\n")]
    for _ in range(count):
        parts = []
        for _ in range(dice.randrange(1, 12)):
            kind, story = dice.random(), dice.choice(stories).encode("utf-8")
            begin = dice.randrange(len(story))
            if kind < 0.4:
                piece = dice.choice(PIECES)
                parts.append(piece.encode("utf-8") if isinstance(piece, str) else piece)
            elif kind < 0.7:
                parts.append(story[begin : begin + dice.randrange(30)])
            elif kind < 0.85:
                parts.append(chr(dice.choice([dice.randrange(0xD800), 0x1F600])).encode("utf-8"))
            else:
                parts.append(dice.randbytes(dice.randrange(6)))
        found.append(b"".join(parts))
    return found


TOKENIZERS = {
    "unigram": {"kind": "unigram"},
    "bytes": {"kind": "bpe"},
    "seen": {"kind": "bpe", "alphabet": "seen"},
    "characters": {"kind": "characters"},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_any_bytes_are_read_as_in_python(kind: str, stories: list[str], tmp_path: Path):
    seen = [*stories, "Zoë said: “café” — naïve… 日本 日本 \ufffd 😀!\n\n\tTwo  spaces. " * 9]
    tokenizer = train_tokenizer(seen, 600, **TOKENIZERS[kind])  # type: ignore[arg-type]
    write(odd(tokenizer), tmp_path, "int8")
    program = built(tmp_path, HERE / "c_driver.c", tmp_path / "driver")
    tried = texts(4000, seen)
    data = b"".join(struct.pack("=I", len(text)) + text for text in tried)
    lines = output(program, "tokens", input=data).splitlines()
    for text, line in zip(tried, lines, strict=True):
        ids = tokenizer.encode(text.decode("utf-8", "replace"))
        found, shown = line.split("=")
        assert [int(word) for word in found.split()] == ids, text
        assert bytes.fromhex(shown).decode("utf-8") == tokenizer.decode(ids), text


@pytest.mark.slow
def test_the_kinds_of_characters_are_those_of_the_library():
    assert (PACKAGE / "src" / "unicode.h").read_text("utf-8") == header()


# ---- microcontrollers ----

BOARDS = {
    "cortex-m4": ("mps2-an386", ["-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"]),
    "cortex-m3": ("mps2-an385", []),
}
QEMU = ["qemu-system-arm", "-nographic", "-monitor", "none", "-serial", "none"]
SEMIHOSTING = ["-semihosting-config", "enable=on,target=native", "-icount", "shift=0"]


def for_arm(cpu: str, out: Path, main: Path, program: Path, library: str) -> Path:
    """Compile an export and a program for a processor; ``library`` is a kind of newlib."""
    for needed in ("arm-none-eabi-gcc", "qemu-system-arm"):
        if not shutil.which(needed):
            pytest.skip(
                f"needs {needed}: apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi "
                "qemu-system-arm"
            )
    folder = HERE / "cortex_m"
    flags = [f"-mcpu={cpu}", "-mthumb", *BOARDS[cpu][1], f"--specs={library}.specs"]
    flags += ["-std=c99", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-Wno-psabi"]
    flags += ["-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-nostartfiles"]
    flags += ["-T", str(folder / "memory.ld"), f"-I{out / 'src'}"]
    sources = [str(folder / "start.c"), *map(str, sorted((out / "src").rglob("*.c")))]
    command = ["arm-none-eabi-gcc", *flags, str(main), *sources, "-lm", "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:3000]
    return program


def emulated(cpu: str, program: Path) -> str:
    command = [*QEMU, "-M", BOARDS[cpu][0], *SEMIHOSTING, "-kernel", str(program)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("cpu", "weights"), [("cortex-m4", "int8"), ("cortex-m4", "int4"), ("cortex-m3", "int8")]
)
def test_a_microcontroller_generates_the_same(
    name: str, cpu: str, weights: str, reference: Reference, tmp_path: Path
):
    """Golden tokens, and what they cost; ``pytest -s`` shows the figures."""
    model = open_model(reference(name))
    write(model, tmp_path, weights)
    main = tmp_path / "test" / "golden.c"
    lines = emulated(cpu, for_arm(cpu, tmp_path, main, tmp_path / "golden.elf", "rdimon"))
    compare_output(expected(model, c.BITS[weights]), lines, tmp_path, cpu)  # type: ignore[arg-type]

    main = HERE / "cortex_m" / "count_main.c"
    counted = for_arm(cpu, tmp_path, main, tmp_path / "count.elf", "rdimon")
    read, drawn, ram = (int(word) for word in emulated(cpu, counted).split())
    main = HERE / "cortex_m" / "size_main.c"
    sized = for_arm(cpu, tmp_path, main, tmp_path / "size.elf", "nosys")
    text, data, bss = map(
        int, subprocess.check_output(["arm-none-eabi-size", sized], text=True).split()[6:9]
    )
    constants = dict(re.findall(r"(BUDDY_\w+) +(\d+) ", (tmp_path / "src/model.h").read_text()))
    weight_bytes = int(constants["BUDDY_WEIGHT_BYTES"])
    print(
        f"\n{name} {weights} on {cpu}: flash {text + data:,} bytes, of which weights "
        f"{weight_bytes:,}; RAM {ram:,} bytes; instructions {read:,} a token read and {drawn:,} "
        "a token drawn"
    )
    assert weight_bytes < text + data < weight_bytes + 60_000
    assert ram < data + bss < ram + 4_000
    assert 0 < read < drawn < 30_000_000


# ---- refusals, and what else it comes with ----


def test_the_licence_is_ours():
    root = HERE.parents[1] / "LICENSE"
    assert (PACKAGE / "LICENSE").read_text("utf-8") == root.read_text("utf-8")


def test_what_libraries_are_described_by_is_filled_in(tmp_path: Path):
    model = open_model(DEFAULT_MODEL)
    write(model, tmp_path, "int4")
    about = json.loads((tmp_path / "library.json").read_text("utf-8"))
    lines = (tmp_path / "library.properties").read_text("utf-8").splitlines()
    assert about["version"] == dict(line.split("=") for line in lines)["version"] == __version__
    assert f"{model.config.parameters:,}" in about["description"]
    for name in c.FILLED:
        assert not re.search(r"\{\w+\}", (tmp_path / name).read_text("utf-8"))


def test_a_difference_is_seen(tmp_path: Path):
    model = open_model("tinybuddy-80k-card")
    write(model, tmp_path, "int8")
    with pytest.raises(TinybuddyError, match=r"continues 'Once upon a time' otherwise"):
        check(replace(model, weights=random_weights(model.config, 0, 0.2)), tmp_path, "int8")
    (tmp_path / "src" / "encode.c").write_text("a mistake\n", encoding="utf-8")
    with pytest.raises(TinybuddyError, match=r"does not compile .* not kept\."):
        check(model, tmp_path, "int8")


def test_what_it_cannot_hold_is_refused(stories: list[str], tmp_path: Path):
    files = odd(train_tokenizer(stories, 97))
    other = LoadedModel(files.config, files.weights, files.tokenizer, files.sample)
    with pytest.raises(TinybuddyError, match=r"is llama2\.c's"):
        write(other, tmp_path / "a", "int8")
    exact = replace(files, tokenizer=Tokenizer(unigram([("a", -0.5), ("b", -1.2345)])))
    with pytest.raises(TinybuddyError, match="in hundredths"):
        write(exact, tmp_path / "b", "int8")
    large = replace(files, config=replace(files.config, vocab_size=MAX_PARAMETERS // 64))
    with pytest.raises(TinybuddyError, match=r"at most 4,000,000 parameters, and this model has"):
        write(replace(large, config=replace(large.config, hidden_size=80)), tmp_path / "d", "int8")
    assert not any(tmp_path.iterdir())
