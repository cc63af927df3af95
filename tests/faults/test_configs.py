"""T28 to T31: a config means what it seems to say or is refused with its place, and is written as read."""

from __future__ import annotations

import math
import os
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest
from config_values import POOL, TEXTS, accepts, misspelt, refused_by_key, some
from small_configs import BODY, mistakes

from dlrun.config.dumping import dump_config
from dlrun.config.keys import KEYS, Choice, Config, default_of
from dlrun.config.loading import config_from_plain, load_config
from dlrun.config.mistakes import ConfigError
from dlrun.config.option_types import describe
from dlrun.config.registry import KINDS, REQUIRED, Parts
from dlrun.config.strict_yaml import parse, read_file
from dlrun.errors import UserError
from dlrun.training.checkpoint import load_checkpoint

if TYPE_CHECKING:
    from conftest import Fault

Write = Callable[[str, str], Path]
Dlrun = Callable[..., Any]


def assert_command_refuses(dlrun: Dlrun, path: Path, *words: object) -> str:
    """`dlrun show` of the file ends with 2 and at most five lines, which name the file; gives them."""
    done = dlrun("show", path, *words)
    lines = done.err.splitlines()
    assert (done.code, done.out) == (2, ""), done
    assert 1 <= len(lines) <= 5 and lines[0].startswith("error: "), done.err
    assert str(path) in done.err or "on the command line" in done.err, done.err
    assert all(line.isprintable() and len(line) < 3000 for line in lines), done.err
    return str(done.err)


# ------------------------------------------------------------------------ T28: what a text means


@pytest.mark.row("T28")
@pytest.mark.usefixtures("loader", "no_hanging")
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1e-3", 0.001),
        ("1e3", 1000.0),
        ("1E+3", 1000.0),
        ("-1.5e-2", -0.015),
        (".5", 0.5),
        ("1.", 1.0),
        ("1.50", 1.5),
        ("0", 0),
        ("-0", 0),
        ("+7", 7),
        ("-12", -12),
        ("9223372036854775807", 2**63 - 1),
        ("true", True),
        ("True", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("no", "no"),
        ("off", "off"),
        ("on", "on"),
        ("yes", "yes"),
        ("NO", "NO"),
        ("y", "y"),
        ("1:30", "1:30"),
        ("2024-01-02", "2024-01-02"),
        ("2024-01-02 03:04:05", "2024-01-02 03:04:05"),
        ("1_000", "1_000"),
        ("0x1F", "0x1F"),
        ("0o17", "0o17"),
        ("0b11", "0b11"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("e3", "e3"),
        (".", "."),
        ("-", [None]),
        ("=", "="),
        ("'1e-3'", "1e-3"),
        ('"no"', "no"),
        ('"true"', "true"),
        ("'null'", "null"),
        ("'010'", "010"),
        ("٣", "٣"),
    ],
)
def test_a_text_means_what_it_says(fault: Fault, written: str, meant: Any) -> None:
    below = "\n" if written == "-" else ""
    found = parse(f"key: {below}{written}", "f").plain()["key"]
    fault.count(texts=1)
    fault.never(wrong=found != meant or type(found) is not type(meant))


@pytest.mark.row("T28")
@pytest.mark.usefixtures("loader", "no_hanging")
@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("lr: 010", "f:1:5", "'010' is not a plain number"),
        ("lr: -010", "f:1:5", "'-010' is not a plain number"),
        ("lr: +00", "f:1:5", "'+00' is not a plain number"),
        ("a: 1\nlr: " + "7" * 5000, "f:2:5", "not a plain number"),
        ("lr: 1\nother: 3\nlr: 2", "f:3:1", "'lr' is given a second time (first at f:1:1)"),
        ("a:\n  b: {lr: 1, lr: 2}", "f:2:14", "'lr' is given a second time (first at f:2:7)"),
        ("lr: 1\n'lr': 2", "f:2:1", "'lr' is given a second time (first at f:1:1)"),
        ("1: a\ntrue: b", "f:1:1", "a key must be plain text"),
        ("a: 1\nnull: b", "f:2:1", "a key must be plain text"),
        ("? [a]\n: b", "f:1:3", "a key must be plain text"),
        ("a: &x 1\nb: 2", "f:1:4", "anchors and aliases"),
        ("a: *x", "f:1:4", "anchors and aliases"),
        ("a: {b: 1}\n<<: {c: 1}", "f:2:1", "merge keys"),
        ("a: !!python/object/apply:os.getcwd []", "f:1:4", "tags"),
        ("a: !!str 1", "f:1:4", "tags"),
        ("a: ! 1", "f:1:4", "tags"),
        ("a: 1\n---\nb: 2", "f:2:1", "a second document"),
        ("a: [1,\n", "f:1:4", "the bracket [ is never closed"),
        ("a: b: c", "f:1:4", "a value with a colon in it needs quotes"),
        ("a:\n\t- b", "f:2:1", "a tab; use spaces"),
        ("a: 1\nb: @", "f:2:4", "a value that begins with @ needs quotes"),
    ],
)
def test_what_yaml_would_silently_get_wrong_is_refused_with_its_place(
    fault: Fault, text: str, place: str, said: str
) -> None:
    fault.count(texts=1)
    read = None
    try:
        read = parse(text, "f").plain()
    except UserError as refused:
        assert refused.where == place
        assert said in refused.what
        assert len(refused.what) < 200
    fault.never(wrong=read is not None)


# What YAML's own loaders take for something else: the text, and what dlrun reads or where it refuses.
TABLE: list[tuple[str, Any]] = [
    ("lr: 1e-3", {"lr": 0.001}),
    ("lr: 1e3", {"lr": 1000.0}),
    ("flag: no", {"flag": "no"}),
    ("flag: off", {"flag": "off"}),
    ("flag: on", {"flag": "on"}),
    ("flag: yes", {"flag": "yes"}),
    ("name: NO", {"name": "NO"}),
    ("name: y", {"name": "y"}),
    ("n: 010", "f.yaml:1:4"),
    ("n: 0x10", {"n": "0x10"}),
    ("n: 1_000", {"n": "1_000"}),
    ("time: 1:30", {"time": "1:30"}),
    ("day: 2024-01-02", {"day": "2024-01-02"}),
    ("lr: 1\nlr: 2", "f.yaml:2:1"),
    ("1: a\ntrue: b", "f.yaml:1:1"),
    ("a: {b:1}", "f.yaml:1:5"),
    ("lr:0.1", "lr:0.1"),
    ("", {}),
    ("x: .inf", {"x": math.inf}),
    ("x: ~", {"x": None}),
    ("a: &b 1", "f.yaml:1:4"),
    ("a: *b", "f.yaml:1:4"),
    ("<<: {a: 1}", "f.yaml:1:1"),
    ("a: !!python/name:os.system x", "f.yaml:1:4"),
    ("a: 1\n---\nb: 2", "f.yaml:2:1"),
]


@pytest.mark.row("T28")
@pytest.mark.usefixtures("loader", "no_hanging")
def test_the_texts_that_yaml_takes_for_something_else(fault: Fault) -> None:
    for text, meant in TABLE:
        try:
            found = parse(text, "f.yaml").plain()
        except UserError as refused:
            found = refused.where
        fault.count(texts=1)
        fault.never(wrong=[] if found == meant else [text])


@pytest.mark.row("T28")
@pytest.mark.parametrize(
    ("text", "meant"), [(text, meant) for text, meant in TABLE if text and "name" not in text]
)
def test_a_command_names_line_and_column(
    fault: Fault, text: str, meant: Any, write: Write, dlrun: Dlrun
) -> None:
    if isinstance(meant, dict):  # it is read, as a key that no config has
        path = write("f.yaml", BODY + text)
        wanted = f"{path}:8:1 {next(iter(meant))}: there is no such key"
    else:
        path = write("f.yaml", text)
        place = meant.removeprefix("f.yaml") if meant.startswith("f.yaml") else ":1:1"
        wanted = f"where: {path}{place}"
    fault.count(texts=1)
    assert wanted in assert_command_refuses(dlrun, path)


# ------------------------------------------------------------------------ T29: bombs


@pytest.mark.row("T29")
@pytest.mark.usefixtures("loader", "no_hanging")
@pytest.mark.parametrize("text", ["a: 1\x00b: 2", "a: \x07", "a: \udcff", "\x00", "a: \ufffe"])
def test_characters_that_are_no_text_are_refused(fault: Fault, text: str) -> None:
    with pytest.raises(UserError) as refused:
        parse(text, "f")
    assert refused.value.where.startswith("f")
    fault.count(files=1)


ALIASES = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
)
MERGES = "a0: &a0 {k: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 30)
)


@pytest.mark.row("T29")
@pytest.mark.usefixtures("loader", "no_hanging")
@pytest.mark.parametrize(
    "text",
    [
        ALIASES,
        MERGES,
        "[" * 900 + "]" * 900,
        "{a: " * 900,
        "[" * 500_000,
        "- " * 100_000,
        f"a: [{'x,' * 400_000}]",
        f"a: [{'{},' * 300_000}]",
    ],
    ids=["aliases", "merges", "lists", "mappings", "unclosed", "dashes", "flood", "flood of mappings"],
)
def test_a_text_that_would_never_end_is_refused(fault: Fault, text: str) -> None:
    with pytest.raises(UserError) as refused:
        parse(text, "f")
    assert refused.value.where.startswith("f:")
    assert len(" ".join(refused.value.lines())) < 400
    fault.count(files=1)


@pytest.mark.row("T29")
@pytest.mark.usefixtures("no_hanging")
@pytest.mark.parametrize(
    ("raw", "place"),
    [
        ("a: ü\n".encode("latin-1"), ":1:4"),
        (b"a: 1\nb: 2\nc: \xff\n", ":3:4"),
        ("a: 1\n".encode("utf-16"), ""),
        (b"a: \xed\xa0\x80\n", ":1:4"),
    ],
    ids=["latin-1", "third line", "UTF-16", "surrogate"],
)
def test_a_file_that_is_not_utf8_is_refused_with_its_line(
    fault: Fault, tmp_path: Path, raw: bytes, place: str
) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(raw)
    with pytest.raises(UserError, match="not UTF-8") as refused:
        read_file(path)
    assert refused.value.where == f"{path}{place}"
    assert refused.value.fix == "save the file as UTF-8"
    fault.count(files=1)


@pytest.mark.row("T29")
@pytest.mark.usefixtures("no_hanging")
def test_utf16_without_its_mark_is_refused_too(fault: Fault, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes("lr: 1\n".encode("utf-16-le"))
    with pytest.raises(UserError) as refused:
        read_file(path)
    assert str(path) in " ".join(refused.value.lines())
    fault.count(files=1)


@pytest.mark.row("T29")
@pytest.mark.usefixtures("no_hanging")
def test_two_mebibytes_are_too_large_for_a_config(fault: Fault, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"# comment\n" * (2 << 20 >> 3))
    with pytest.raises(UserError, match="too large") as refused:
        read_file(path)
    assert str(path) in " ".join(refused.value.lines())
    fault.count(files=1)


@pytest.mark.row("T29")
@pytest.mark.usefixtures("no_hanging")
def test_what_is_no_file_is_refused_and_never_waited_for(fault: Fault, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for path in (tmp_path, tmp_path / "fifo", Path("/dev/zero"), tmp_path / "dangling", tmp_path / "missing"):
        with pytest.raises(UserError) as refused:
            read_file(path)
        assert str(path) in " ".join(refused.value.lines())
    fault.count(files=5)


@pytest.mark.row("T29")
@pytest.mark.usefixtures("no_hanging")
def test_a_command_refuses_whatever_is_no_config_soon(fault: Fault, tmp_path: Path, dlrun: Dlrun) -> None:
    contents: dict[str, bytes] = {
        "aliases": ALIASES.encode(),
        "merges": MERGES.encode(),
        "lists": b"[" * 900 + b"]" * 900,
        "unclosed": b"[" * 500_000,
        "mappings": b"{a: " * 900,
        "flood": b"a: [" + b"x," * 400_000 + b"]",
        "two mebibytes": b"# comment\n" * (2 << 20 >> 3),
        "a text of a megabyte": BODY.encode() + b"name: " + b"x" * 1_000_000,
        "a key of a megabyte": BODY.encode() + b"x" * 1_000_000 + b": 1",
        "a number of 5,000 digits": b"epochs: " + b"9" * 5000,
        "nul": b"a: 1\0",
        "utf-16": "epochs: 1\n".encode("utf-16"),
        "latin-1": "name: \u00fc\n".encode("latin-1"),
        "nine hundred keys": BODY.encode() + b"".join(b"key%d: 1\n" % n for n in range(900)),
        "an escape": BODY.encode() + b'name: "\\e[2J"\n"\\e[2J": 1\n',
        "lines in a key": BODY.encode() + b'"a\\nfix: run this\\nb": 1\n',
        "binary": bytes(range(256)),
    }
    paths = []
    for number, raw in enumerate(contents.values()):
        paths.append(tmp_path / f"config{number}.yaml")
        paths[-1].write_bytes(raw)
    os.mkfifo(tmp_path / "fifo.yaml")
    (tmp_path / "endless.yaml").symlink_to("/dev/zero")
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    (tmp_path / "folder.yaml").mkdir()
    paths += [tmp_path / f"{name}.yaml" for name in ("fifo", "endless", "loop", "folder", "missing")]
    for path in list(paths):
        child = path.with_name(f"child_of_{path.stem}.yaml")
        child.write_text(f"base: {path}\nname: [no, name]\n")
        paths.append(child)
    for path in paths:
        started = time.process_time()
        done = dlrun("show", path)
        lines = done.err.splitlines()
        assert (done.code, done.out) == (2, ""), (path, done)
        assert len(lines) <= (22 if re.search("90[01] mistakes", lines[0]) else 5), (path, done.err)
        assert len(done.err) < 20_000, path
        assert all(line.isprintable() for line in lines), path
        fault.count(files=1, above_a_second=int(time.process_time() - started > 1))


# ------------------------------------------------------------------------ T30: keys and values that are none


@pytest.mark.row("T30")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seeds", "0"),
        ("seeds", "[-1]"),
        ("seeds", "[9223372036854775808]"),
        ("seeds", "[0.0]"),
        ("seeds", "[true]"),
        ("seeds", "[0, 1, 0]"),
        ("seeds", "[]"),
        ("seeds", "[1e3]"),
        ("seeds", "{a: 1}"),
        ("epochs", "true"),
        ("epochs", "0"),
        ("epochs", "-1"),
        ("epochs", "1.0"),
        ("epochs", "1e3"),
        ("epochs", "'10'"),
        ("epochs", "[1]"),
        ("epochs", ".nan"),
        ("batch_size", "fully"),
        ("batch_size", "0"),
        ("batch_size", "true"),
        ("threads", "0"),
        ("threads", "many"),
        ("precision", "float128"),
        ("compile", "yes"),
        ("compile", "1"),
        ("gradient_clip", "0"),
        ("gradient_clip", "-1"),
        ("gradient_clip", ".inf"),
        ("gradient_clip", ".nan"),
        ("gradient_clip", "true"),
        ("gradient_clip", "'1'"),
        ("patience", "0"),
        ("evaluate_every", "0"),
        ("evaluate_train_every", "false"),
        ("monitor", "loss"),
        ("monitor", "train_accuracies"),
        ("monitor", "trainset_loss"),
        ("monitor", "test_top5"),
        ("monitor", "lr"),
        ("monitor", "3"),
        ("metrics", "[accuracy, accuracy]"),
        ("metrics", "[1]"),
        ("metrics", "[[accuracy]]"),
        ("metrics", "[acuracy]"),
        ("plots", "{name: curve}"),
        ("expect", "{train_acuracy: '> 0'}"),
        ("expect", "{lr: '> 0'}"),
        ("expect", "{best.best.train_loss: '> 0'}"),
        ("expect", "{train_loss: 0.5}"),
        ("expect", "{train_loss: 'about 0.5'}"),
        ("expect", "[train_loss]"),
        ("device", "gpu"),
        ("device", "CPUs"),
        ("device", "cuda:"),
        ("device", "cuda:-1"),
        ("device", "cuda:999"),
        ("device", "cuda:٣"),
        ("device", '"cpu\\n"'),
        ("device", "0"),
        ("loss", "[cross_entropy]"),
        ("loss", "{}"),
        ("loss", "{label_smoothing: 0.1}"),
        ("loss", "{name: 5}"),
        ("loss", "no"),
        ("loss", "os.system"),
        ("optimizer.lr", "true"),
        ("optimizer.lr", ".nan"),
        ("optimizer.lr", ".inf"),
        ("optimizer.lr", "1e400"),
        ("optimizer.lr", "-1e-3"),
        ("optimizer.lr", "'1e-3'"),
        ("optimizer.lr", "null"),
        ("optimizer.lr", "[0.1]"),
        ("optimizer.beta1", "1"),
        ("architecture.hidden", "4"),
        ("architecture.hidden", "[0]"),
        ("architecture.hidden", "[4, x]"),
        ("architecture.hidden", "[4, [5]]"),
        ("architecture.dropout", "1.0"),
        ("architecture.flatten", "on"),
        ("architecture.activation", "Relus"),
        ("dataset.seed", "-1"),
        ("dataset.points", "2.5"),
        ("schedule", "cosin"),
        ("augmentations", "[noise, {name: flip, prob: 1}]"),
        ("nothing", "1"),
        ("expect_epochs", "0"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_named(fault: Fault, base: Path, key: str, value: str) -> None:
    [found] = mistakes(base, [f"{key}={value}"])
    assert found.startswith(f"on the command line: {key}")
    assert len(found) < 650
    fault.count(values=1)


@pytest.mark.row("T30")
def test_every_key_refuses_what_is_of_no_type_at_all(fault: Fault, base: Path) -> None:
    for key in KEYS:
        for value in ("{a: [{b: {c: 1}}]}", "[[[[]]]]", "2001-01-01", "'\\e[31m'", '"\\0"'):
            if not (key == "name" and value == "2001-01-01"):
                assert mistakes(base, [f"{key}={value}"])[0].startswith(f"on the command line: {key}"), value
    fault.count(values=5 * len(KEYS) - 1)


@pytest.mark.row("T30")
@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("optimizer.lrate", "1", "did you mean 'lr'?"),
        ("optimizer.name", "sdg", "did you mean 'sgd'?"),
        ("monitor", "trian_loss", "did you mean 'train_loss'?"),
        ("expect.best.test_acuracy", "'> 0.5'", "did you mean 'best.test_accuracy'?"),
        ("metrics", "[acuracy]", "did you mean 'accuracy'?"),
        ("EPOCHS", "3", "did you mean 'epochs'?"),
        ("architecture.hidden", "[4, 0]", "architecture.hidden[1]: 0 is not"),
        ("monitor", "trainset_loss", "evaluate_train_every"),
    ],
)
def test_a_mistake_says_what_to_do_instead(
    fault: Fault, base: Path, key: str, value: str, words: str
) -> None:
    [found] = mistakes(base, [f"{key}={value}"])
    assert words in found
    fault.count(values=1)


def refusal(plain: dict[str, Any], parts: Parts) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        config_from_plain(plain, "drawn.yaml", parts=parts)
    assert refused.value.exit_code == 2
    return [line.removeprefix("  ") for line in refused.value.lines(debug=True)[1:]]


@pytest.mark.row("T30")
def test_every_key_refuses_every_value_of_another_type(fault: Fault, base: Path) -> None:
    plain, parts, hints = load_config(base).plain(), Parts(), get_type_hints(Config, include_extras=True)
    for key in KEYS:
        of_parts = hints[key] in (Choice, list[Choice])
        bad = refused_by_key(key, hints[key])
        assert len(bad) >= 6, key
        for value in bad:
            found = refusal(plain | {key: value}, parts)
            assert found[0].startswith(f"drawn.yaml: {key}"), (key, value, found)
            assert found[0].isprintable() and len(found[0]) < 1500, (key, value)
            if not of_parts and key != "groups" and not isinstance(value, str | list | dict):
                assert describe(hints[key]).split(" >=")[0].split(",")[0] in found[0], (key, value, found)
            fault.count(values=1)


@pytest.mark.row("T30")
@pytest.mark.parametrize("kind", KINDS)
def test_every_option_of_every_part_refuses_every_value_of_another_type(
    fault: Fault, base: Path, kind: str
) -> None:
    plain, parts = load_config(base).plain() | {"metrics": [], "monitor": None}, Parts()
    several = isinstance(default_of(kind), list)
    for name in parts.names(kind):
        part = parts.part(kind, name)
        required = {
            o.name: some(o.type, random.Random(0)) for o in part.options.values() if o.default is REQUIRED
        }
        for option in part.options.values():
            bad = [value for value in POOL if not accepts(option.type, value)]
            assert len(bad) >= 6, (name, option)
            for value in bad if fault.thorough else fault.random.sample(bad, 6):
                choice = {"name": name} | required | {option.name: value}
                [found] = refusal(plain | {kind: [choice] if several else choice}, parts)
                place = f"{kind}[0]" if several else kind
                assert found.startswith(f"drawn.yaml: {place}.{option.name}"), (found, value)
                assert "is not " in found, (found, value)
                assert found.isprintable() and len(found) < 1500, (found, value)
                fault.count(values=1)


@pytest.mark.row("T30")
def test_a_misspelt_key_option_or_part_is_answered_with_its_neighbour(fault: Fault, base: Path) -> None:
    plain, parts = load_config(base).plain(), Parts()
    for key in KEYS:
        wrong = misspelt(key)
        [found] = refusal(plain | {wrong: 1}, parts)
        assert f"{wrong}: there is no such key; did you mean {key!r}?" in found
        fault.count(values=1)
    for kind in KINDS:
        several, names = isinstance(default_of(kind), list), parts.names(kind)
        for name in names:
            if misspelt(name) in names:
                continue
            choice = {"name": misspelt(name)}
            found = refusal(plain | {"metrics": [], kind: [choice] if several else choice}, parts)[0]
            assert f"there is no {kind}/{misspelt(name)}.py; did you mean {name!r}?" in found, found
            assert len(names) > 20 or all(other in found for other in names), found
            part = parts.part(kind, name)
            for option in part.options:
                if misspelt(option) in part.options:
                    continue
                given = {o.name: some(o.type, random.Random(0)) for o in part.options.values()}
                choice = {"name": name, misspelt(option): 1} | given
                found = refusal(plain | {"metrics": [], kind: [choice] if several else choice}, parts)[0]
                assert f"{misspelt(option)}: there is no such option; did you mean {option!r}?" in found, (
                    found
                )
                fault.count(values=1)
            fault.count(values=1)


@pytest.mark.row("T30")
@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("seeds=[-1]", "-1 is not allowed in a list of whole numbers >= 0"),
        ("seeds=[18446744073709551616]", "is not a plain number"),
        ("device=gpu", "'gpu' is not a device; write cuda (there are: auto, cpu, cuda, cuda:N, mps)"),
        ("device=CPUs", "'CPUs' is not a device (there are: auto, cpu, cuda, cuda:N, mps)"),
        ("device=cuda:99", "there is no cuda"),
        ("optimizer.lr=.nan", "nan is not a number >= 0"),
        ("epochs=true", "true is not a whole number >= 1"),
        ("epochs=1.5", "1.5 is not a whole number >= 1"),
        ("optimizer.lrr=1", "did you mean 'lr'?"),
        ("threads=1000000000", "1000000000 is not a whole number >= 1 and <= 1024, or auto"),
        ("dataset.points=1000000000", "are more than 10,000,000 in all"),
        ("architecture.hidden=[9000000000000000000]", "the model cannot be made"),
    ],
)
def test_a_command_says_what_there_is_instead(
    fault: Fault, base: Path, dlrun: Dlrun, word: str, said: str
) -> None:
    assert said in assert_command_refuses(dlrun, base, word)
    fault.count(values=1)


# ------------------------------------------------------------------------ T31: written and read again

WRITER = """\
def writer(root, *, text: str = "no", maybe: str | None = None, several: list[str] = (),
           named: dict[str, str | float | int | bool] = {}, share: Fraction = 0.5, whole: int = 3,
           deep: list[list[float]] = ((1.5,),), either: int | Literal["full", "1e-3"] = 4):
    '''Takes whatever YAML can hold.'''
    return root
"""


def some_config(parts: Parts, random: random.Random) -> dict[str, Any]:
    """Plain values of a config, every key and option drawn from what its type allows."""

    def choice(kind: str) -> Any:
        part = parts.part(kind, random.choice(parts.names(kind)))
        given = {
            option.name: some(option.type, random)
            for option in part.options.values()
            if option.default is REQUIRED or random.random() < 0.6
        }
        return {"name": part.name} | given if given or random.random() < 0.5 else part.name

    plain: dict[str, Any] = {}
    for key, kind in get_type_hints(Config, include_extras=True).items():
        if key in ("groups", "task"):
            continue
        if key in KEYS and (default_of(key) is REQUIRED or random.random() < 0.7):
            if kind is Choice:
                plain[key] = choice(key)
            elif kind == list[Choice]:
                plain[key] = [choice(key) for _ in range(random.randrange(3))]
            else:
                plain[key] = some(kind, random)
    plain["task"] = random.choice([None, "other", "reconstruction"])
    plain["groups"] = random.choice([[], [{"match": "*.bias", "lr": "0.1x"}, {"match": "no", "lr": 1e-5}]])
    plain["name"] = random.choice(["a", "no", "null", "1e-3", "010", "2024-01-02", "0", "true", "y", "1.5"])
    plain["seeds"] = list({random.getrandbits(63) for _ in range(random.randint(1, 3))})
    plain["track"] = list(dict.fromkeys(plain.get("track", [])))
    plain["device"] = random.choice(["auto", "cpu", "cuda:1", "mps"])
    if plain["batch_size"] == "full" or plain.get("epoch_examples"):  # these contradict each other
        plain["drop_last"] = False
    if plain["batch_size"] == "full":
        plain["sampling"] = "shuffled"
    if plain["batch_size"] == "full":
        plain["epoch_examples"] = None
    plain["monitor"] = random.choice([None, "train_loss", "valid_loss"])
    columns = random.sample(["train_loss", "best.test_loss", "seconds"], random.randrange(4))
    plain["expect"] = {column: random.choice([">= 0.5", "<1e-3", "> 1, < 2"]) for column in columns}
    metrics = {c if isinstance(c, str) else c["name"]: c for c in plain.get("metrics", [])}
    plain["metrics"] = list(metrics.values())
    return plain


@pytest.mark.row("T31")
def test_whatever_can_be_configured_reads_back_as_the_same(
    fault: Fault, tmp_path: Path, write: Write
) -> None:
    write("parts/dataset/writer.py", WRITER)
    parts = Parts(tmp_path / "parts")
    written = 0
    times = fault.times(100, 500)
    for seed in range(times):
        plain = some_config(parts, random.Random(seed))
        try:
            config = config_from_plain(plain, "drawn", parts=parts)
        except ConfigError as error:
            pytest.fail(f"seed {seed}: {error.lines()}")
        text = dump_config(config)
        again = load_config(write("drawn.yaml", text), parts=parts)
        of_checkpoint = config_from_plain(config.plain(), "checkpoint", parts=parts)
        fault.count(configs=1)
        fault.never(wrong=[] if config == again == of_checkpoint else [seed])
        written += "writer" in text
    assert written > times / 50


@pytest.mark.row("T31")
def test_the_config_in_a_run_folder_is_the_one_that_was_trained(
    fault: Fault, base: Path, runs_dir: Path, dlrun: Dlrun
) -> None:
    for word in (
        "optimizer.lr=3e-4",
        "seeds=[9223372036854775807]",
        "schedule=cosine",
        "loss.label_smoothing=0.1",
    ):
        done = dlrun("train", base, word, "epochs=1", "plots=[]", "--quiet")
        assert done.code == 0, done.err
        folder = Path(done.out.strip())
        resolved = "evaluation_batch_size=1024"  # what auto chooses
        asked_for = load_config(base, [word, "epochs=1", "plots=[]", "name=base", resolved])
        saved = load_checkpoint(folder / "checkpoints" / "last.pt")
        kept = [load_config(folder / "config.yaml"), config_from_plain(saved.config, "last.pt")]
        fault.count(configs=1)
        fault.never(wrong=[config for config in kept if config != asked_for])


@pytest.mark.row("T31")
@pytest.mark.parametrize("text", TEXTS)
def test_a_text_stays_the_text_it_is(fault: Fault, text: str, tmp_path: Path, write: Write) -> None:
    write("parts/dataset/writer.py", WRITER)
    parts = Parts(tmp_path / "parts")
    options = {"name": "writer", "text": text, "several": [text, text], "named": {text: text}}
    config = config_from_plain(
        load_config(write("a.yaml", BODY)).plain() | {"dataset": options}, "here", parts=parts
    )
    assert config.dataset.options["text"] == text
    fault.count(texts=1)
    fault.never(
        wrong=load_config(write("b.yaml", dump_config(config)), ["name=a"], parts).dataset != config.dataset
    )
