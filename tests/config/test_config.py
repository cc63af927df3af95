"""YAML, what it inherits and KEY=VALUE words become one Config, or every mistake at once."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_configs import BODY, mistakes

from dlrun.config.claims import meets, parse_claim
from dlrun.config.dumping import dump_config
from dlrun.config.keys import Choice, changed_keys
from dlrun.config.loading import config_from_plain, load_config
from dlrun.config.lookup import find_config, shipped_folder, shipped_names
from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import KINDS, Parts
from dlrun.errors import UserError

Write = Callable[[str, str], Path]
SHIPPED = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


# --------------------------------------------------------------------------- what ships


def test_configs_are_shipped() -> None:
    assert shipped_names() == [path.stem for path in SHIPPED]
    assert "spiral_relu" in shipped_names()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_config_loads_finds_its_parts_and_makes_a_plan(path: Path, tmp_path: Path) -> None:
    from dlrun.training.plan_making import make_plan

    config = load_config(path)
    parts = Parts()
    assert config.name == path.stem
    plan = make_plan(config, parts, tmp_path)
    assert plan.layers.parameters > 0
    for kind in KINDS:
        chosen = plan.plots if kind == "plots" else getattr(config, kind)
        for choice in chosen if isinstance(chosen, list) else [chosen]:
            assert callable(parts.find(kind, choice.name))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_config_expects_something(path: Path) -> None:
    assert load_config(path).expect


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_config_that_is_written_out_reads_back_as_the_same(path: Path, write: Write) -> None:
    config = load_config(path)
    again = write("config.yaml", dump_config(config))
    assert load_config(again) == config
    assert dump_config(load_config(again)) == dump_config(config)


# --------------------------------------------------------------------------- every mistake at once


def test_all_mistakes_of_a_file_are_reported_together_each_with_its_place(write: Write) -> None:
    path = write(
        "bad.yaml",
        """\
seeds: [0]
dataset: {name: spiral, point: 20}
architecture: {name: mpl, hidden: [4]}
loss: cross_entropy
optimizer:
  name: adam
  weight_decay: 1e-5
epochs: ten
bach_size: full
metrics: [accuracy]
""",
    )
    found = mistakes(path)
    assert found == [
        f"{path}:2:25 dataset.point: there is no such option; did you mean 'points'? "
        "(there are: points, classes, noise, valid_fraction, seed, folds, fold)",
        f"{path}:3:22 architecture.name: there is no architecture/mpl.py; did you mean 'mlp'? "
        f"(there are: {', '.join(Parts().names('architecture'))})",
        f"{path}:5:1 optimizer: the option lr is missing: a number >= 0, "
        "such as optimizer: {name: adam, lr: 0.001, weight_decay: 1.0e-05}",
        f"{path}:8:9 epochs: 'ten' is not a whole number >= 1",
        f"{path}:9:1 bach_size: there is no such key; did you mean 'batch_size'?",
    ]


def test_the_error_names_the_file_and_counts_the_mistakes(base: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(base, ["epochs=0", "batch_size=0"])
    first, *rest = refused.value.lines()
    assert first == f"error: {base}: 2 mistakes"
    assert rest == [
        "  on the command line: epochs: 0 is not a whole number >= 1",
        "  on the command line: batch_size: 0 is not a whole number >= 1, or full",
    ]


def test_a_mistake_in_a_base_is_placed_in_the_base(base: Path, write: Write) -> None:
    write("base.yaml", BODY.replace("tanh", "tan"))
    found = mistakes(write("child.yaml", "base: base.yaml\nepochs: 0\n"))
    assert [text.split(" ")[0] for text in found] == [f"{base.parent}/child.yaml:2:9", f"{base}:2:52"]


@pytest.mark.parametrize(
    ("word", "key", "meant"),
    [
        ("optimizer.lr=1", "optimizer", 1.0),
        ("gradient_clip=2", "gradient_clip", 2.0),
        ("seeds=[9223372036854775807]", "seeds", [2**63 - 1]),
        ("seeds=[3, 1]", "seeds", [3, 1]),
        ("device=cuda:3", "device", "cuda:3"),
        ("patience=10", "patience", 10),
        ("monitor=valid_accuracy", "monitor", "valid_accuracy"),
        ("metrics=accuracy", "metrics", [Choice("accuracy", {})]),
        ("metrics=[]", "metrics", []),
        ("expect={seconds: '< 60'}", "expect", {"seconds": "< 60"}),
        ("expect.best.test_accuracy='> 0.5'", "expect", {"best.test_accuracy": "> 0.5"}),
    ],
)
def test_what_can_be_meant_is_accepted(base: Path, word: str, key: str, meant: Any) -> None:
    found = getattr(load_config(base, [word]), key)
    if isinstance(found, Choice):
        found = found.options["lr"]
    assert found == meant


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "/etc/x",
        "a/b",
        "a\\b",
        "C:x",
        "~",
        "-rf",
        "_x",
        " x",
        "x ",
        "a b",
        "x\n",
        "x\0",
        "x" * 65,
        "x" * 256,
        "CON",
        "nul.txt",
        "com1",
        "Lpt9.yaml",
        "aux",
        "‮x",
        "x​",
        "[/x]",
        "$x",
        "x;y",
        "*",
        "x|y",
        "\x1b[31m",
        "%s",
        "x:y",
    ],
)
def test_a_name_that_no_folder_should_have_is_refused(base: Path, name: str) -> None:
    plain = load_config(base).plain() | {"name": name}
    with pytest.raises(ConfigError) as refused:
        config_from_plain(plain, "here")
    assert "cannot name a folder" in str(refused.value.mistakes[0])


@pytest.mark.parametrize("name", ["Größe", "山川", "ป่า", "тест_2", "نموذج", "ｘ"])
def test_a_name_has_letters_of_any_script_in_composed_form(base: Path, name: str) -> None:
    for form in ("NFC", "NFD"):
        plain = load_config(base).plain() | {"name": unicodedata.normalize(form, name)}
        assert config_from_plain(plain, "here").name == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize(
    "name", ["\u0301x", "x\u3164", "x\u034f", "x\u2067", "\u0663", "x😀", "山" * 65, "𐐀" * 60]
)
def test_a_name_of_what_is_not_seen_or_of_too_many_bytes_is_refused(base: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        config_from_plain(load_config(base).plain() | {"name": name}, "here")


@pytest.mark.parametrize("name", ["a", "0", "a.b", "A-b_c.0", "x" * 64, "con1", "console", "last"])
def test_a_plain_name_is_accepted(base: Path, name: str) -> None:
    assert config_from_plain(load_config(base).plain() | {"name": name}, "here").name == name


def test_a_config_is_named_after_its_file_unless_it_says_otherwise(base: Path, write: Write) -> None:
    assert load_config(base).name == "base"
    assert load_config(base, ["name=other"]).name == "other"
    assert load_config(write("named.yaml", f"name: mine\n{BODY}")).name == "mine"
    assert load_config(write("null.yaml", f"name: null\n{BODY}")).name == "null"
    assert load_config(write("folder-007/config.yaml", BODY)).name == "folder-007"


def test_a_path_with_backslashes_reads_back_as_the_same(write: Write) -> None:
    path = r"C:\new folder\table.csv"
    csv = BODY.replace("{name: spiral, points: 20}", "{name: csv, target: y}")
    config = load_config(write("a.yaml", csv), [f"dataset.path={path}"])
    assert config.dataset.options["path"] == path
    assert load_config(write("b.yaml", dump_config(config))).dataset == config.dataset


def test_another_name_changes_the_name_and_nothing_else(write: Write) -> None:
    path = write("named.yaml", f"name: mine\n{BODY}")
    assert changed_keys(load_config(path), load_config(path, ["name=other"])) == ["name"]


@pytest.mark.parametrize("text", ["[1, 2]", "lr:0.1", "3", "- dataset: spiral", "---", "null"])
def test_a_config_that_is_no_mapping_is_refused(text: str, write: Write) -> None:
    path = write("a.yaml", text)
    with pytest.raises(UserError) as refused:
        load_config(path)
    assert str(path) in " ".join(refused.value.lines())


def test_a_text_of_any_length_makes_a_short_message(base: Path) -> None:
    for word in (f"epochs={'x' * 5000}", f"{'x' * 5000}=1", f"loss={'x' * 5000}", f"monitor={'x' * 5000}"):
        assert all(len(text) < 800 for text in mistakes(base, [word]))


# --------------------------------------------------------------------------- base


def test_base_merges_key_by_key(base: Path, write: Write) -> None:
    child = write("child.yaml", "base: base.yaml\narchitecture: {hidden: [8]}\nepochs: 20\n")
    config = load_config(child)
    assert changed_keys(load_config(base), config) == ["name", "architecture.hidden", "epochs"]
    assert config.architecture.options["activation"] == "tanh"


def test_another_name_replaces_a_part_whole(base: Path, write: Write) -> None:
    config = load_config(write("child.yaml", "base: base.yaml\noptimizer: {name: sgd, lr: 0.5}\n"))
    assert config.optimizer == Choice(
        "sgd", {"lr": 0.5, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
    )
    [missing] = mistakes(write("bare.yaml", "base: base.yaml\noptimizer: sgd\n"))
    assert "the option lr is missing" in missing


def test_the_same_name_keeps_what_is_not_said_again(base: Path, write: Write) -> None:
    named = load_config(write("named.yaml", "base: base.yaml\noptimizer: {name: adam, lr: 0.5}\n"))
    bare = load_config(write("bare.yaml", "base: base.yaml\noptimizer: adam\n"))
    assert (named.optimizer.options["lr"], named.optimizer.options["weight_decay"]) == (0.5, 1e-5)
    assert bare.optimizer == load_config(base).optimizer


def test_options_may_be_added_to_a_bare_name(base: Path, write: Write) -> None:
    config = load_config(write("child.yaml", "base: base.yaml\nloss: {label_smoothing: 0.1}\n"))
    assert config.loss == Choice("cross_entropy", {"label_smoothing": 0.1})


def test_lists_and_claims_follow_their_own_rule(write: Write) -> None:
    write(
        "base.yaml", BODY + "expect: {train_loss: '< 1', test_loss: '< 1'}\nplots: [curves]\nseeds: [1, 2]\n"
    )
    config = load_config(
        write("child.yaml", "base: base.yaml\nexpect: {train_loss: '< 2'}\nplots: []\nseeds: [3]\n")
    )
    assert config.expect == {"train_loss": "< 2", "test_loss": "< 1"}
    assert (config.plots, config.seeds) == ([], [3])


def test_a_chain_of_bases_ends_with_the_last_word(base: Path, write: Write) -> None:
    write("deep/middle.yaml", "base: ../base.yaml\nepochs: 20\nbatch_size: 5\n")
    config = load_config(write("top.yaml", "base: deep/middle.yaml\nepochs: 30\n"))
    assert (config.epochs, config.batch_size, config.optimizer.name) == (30, 5, "adam")


def test_a_base_may_be_a_shipped_name(write: Write) -> None:
    for base in ("spiral_relu", "spiral_relu.yaml"):
        config = load_config(write("mine.yaml", f"base: {base}\nepochs: 7\n"))
        changed = changed_keys(load_config(find_config("spiral_relu")), config)
        assert changed == ["name", "epochs", "not_judged"]


def test_a_base_beside_the_file_comes_before_a_shipped_one(write: Write) -> None:
    write("spiral_relu.yaml", BODY)
    assert load_config(write("mine.yaml", "base: spiral_relu.yaml\n")).batch_size == "full"
    assert load_config(write("mine.yaml", "base: spiral_relu.yaml\n")).epochs == 10


def test_a_name_is_not_inherited(write: Write) -> None:
    write("base.yaml", f"name: theirs\n{BODY}")
    assert load_config(write("child.yaml", "base: base.yaml\n")).name == "child"


def test_null_means_the_default(write: Write) -> None:
    write("base.yaml", BODY + "patience: 5\nseeds: [1, 2]\nplots: []\n")
    config = load_config(write("child.yaml", "base: base.yaml\npatience: null\nseeds: ~\nplots:\n"))
    assert (config.patience, config.seeds) == (None, [0])
    assert [choice.name for choice in config.plots] == ["auto"]
    assert mistakes(write("gone.yaml", "base: base.yaml\nepochs: null\n"))[0].endswith(
        "epochs: is missing: a whole number >= 1"
    )


def test_a_base_that_leads_back_to_itself_is_refused(write: Write) -> None:
    write("b.yaml", "base: c.yaml\n")
    write("c.yaml", "base: a.yaml\n")
    for path in (write("a.yaml", "base: b.yaml\n"), write("self.yaml", "base: ./self.yaml\n")):
        with pytest.raises(UserError, match="its own base") as refused:
            load_config(path)
        assert refused.value.where.endswith(".yaml:1:7")


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("epochs: 1\nbase: nowhere.yaml\n", "2:7", "there is no config nowhere.yaml"),
        ("base: spiral_rely\n", "1:7", "did you mean 'spiral_relu'?"),
        ("base: 5\n", "1:7", "base must name another config"),
        ("base: [a.yaml]\n", "1:7", "base must name another config"),
        ("base: null\n", "1:7", "base must name another config"),
    ],
)
def test_a_base_that_is_not_there_is_named_with_its_place(
    text: str, place: str, said: str, write: Write
) -> None:
    path = write("a.yaml", text)
    with pytest.raises(UserError) as refused:
        load_config(path)
    assert refused.value.where == f"{path}:{place}"
    assert said in refused.value.what


# --------------------------------------------------------------------------- KEY=VALUE


def test_a_word_replaces_what_stands_at_its_key(base: Path) -> None:
    assert load_config(base, ["optimizer.lr=3e-4"]).optimizer.options["lr"] == 3e-4
    assert load_config(base, ["seeds=[1, 2]"]).seeds == [1, 2]
    assert load_config(base, ["epochs=5", "epochs=6"]).epochs == 6
    assert load_config(base, ["optimizer={name: adam, lr: 0.5}"]).optimizer.options["weight_decay"] == 0.0


def test_a_dot_into_a_bare_name_expands_it(base: Path) -> None:
    assert load_config(base, ["loss.label_smoothing=0.2"]).loss == Choice(
        "cross_entropy", {"label_smoothing": 0.2}
    )
    assert load_config(base, ["schedule=cosine", "schedule.warmup=0.1"]).schedule.options["warmup"] == 0.1


@pytest.mark.parametrize("word", ["optimizer.name=sgd", "optimizer=sgd", "optimizer=SGD"])
def test_another_name_keeps_the_options_that_both_parts_have(base: Path, word: str) -> None:
    sgd = Choice("sgd", {"lr": 0.01, "momentum": 0.0, "nesterov": False, "weight_decay": 1e-5})
    assert load_config(base, [word]).optimizer == sgd
    assert load_config(base, [word]).notes == ()
    assert load_config(base, [word, "optimizer.lr=0.5"]).optimizer.options == sgd.options | {"lr": 0.5}
    assert load_config(base, ["optimizer.lr=0.5", word]).optimizer.options == sgd.options | {"lr": 0.5}
    assert load_config(base, ["loss.name=nll"]).loss.name == "nll"


def test_an_option_that_the_other_part_does_not_have_is_left_out_with_a_note(
    base: Path, write: Write
) -> None:
    found = load_config(base, ["optimizer=sgd_scratch"])
    assert found.optimizer == Choice("sgd_scratch", {"lr": 0.01})
    assert found.notes == ("optimizer=sgd_scratch: weight_decay of the config is left out",)
    found = load_config(base, ["architecture.name=rnn", "dataset=shapes"])
    assert found.notes == (  # `hidden` is a list in an mlp and a number in an rnn
        "architecture.name=rnn: hidden and activation of the config are left out",
        "dataset=shapes: points of the config is left out",
    )
    as_by_default = write("a.yaml", BODY.replace("lr: 1e-2", "lr: 1e-2, beta1: 0.9"))
    assert load_config(as_by_default, ["optimizer=sgd"]).notes == ()


def test_an_option_of_the_command_line_is_never_left_out(base: Path) -> None:
    for words in (["optimizer.beta1=0.8", "optimizer=sgd"], ["optimizer=sgd", "optimizer.beta1=0.8"]):
        assert "optimizer.beta1: sgd has no such option" in mistakes(base, words)[0]


def test_a_part_is_kept_whole_by_its_own_name_and_replaced_by_a_mapping(base: Path) -> None:
    assert load_config(base, ["optimizer=Adam"]).optimizer == load_config(base).optimizer
    assert "the option lr is missing" in mistakes(base, ["optimizer={name: sgd}"])[0]


def test_the_same_name_drops_nothing(base: Path) -> None:
    assert changed_keys(load_config(base), load_config(base, ["optimizer.name=adam"])) == []


def test_a_claim_on_a_metric_that_is_left_out_says_how_to_go_on(write: Write) -> None:
    path = write("a.yaml", BODY.replace("[accuracy]", "[f1]") + "expect: {train_accuracy: '> 0.9'}\n")
    [said] = mistakes(path)
    assert f"{path}:8:10 expect.train_accuracy: accuracy is not measured" in said
    assert said.endswith("add it to metrics, or leave out all claims with expect={}")
    assert load_config(path, ["metrics=[f1,accuracy]"]) and load_config(path, ["expect={}"])
    assert mistakes(path, ["metrics=[top5]", "expect.train_accuracy='> 0'"])
    child = write("child.yaml", "base: a.yaml\nexpect: {train_accuracy: null, test_iou: '> 0'}\n")
    for claimed, words in ((path, ["expect={test_iou: '> 0'}"]), (child, [])):
        assert any("test_iou: iou is not measured; add it" in each for each in mistakes(claimed, words))


def test_claims_are_emptied_and_added_one_at_a_time(write: Write) -> None:
    path = write("a.yaml", BODY + "expect: {train_loss: '< 1'}\n")
    assert load_config(path, ["expect={}"]).expect == {}
    assert load_config(path, ["expect.best.test_accuracy='>= 0.5'"]).expect == {
        "train_loss": "< 1",
        "best.test_accuracy": ">= 0.5",
    }


@pytest.mark.parametrize("word", ["epochs", "=5", "", "--epochs"])
def test_a_word_without_key_and_value_is_refused(base: Path, word: str) -> None:
    with pytest.raises(UserError, match="not of the form KEY=VALUE"):
        load_config(base, [word])


@pytest.mark.parametrize("word", ["epochs=", "epochs=  ", "optimizer.lr="])
def test_a_value_that_is_missing_is_refused(base: Path, word: str) -> None:
    with pytest.raises(UserError, match="is given no value") as refused:
        load_config(base, [word])
    assert refused.value.fix == "write it behind the ="


def test_a_value_that_is_missing_may_stand_in_the_next_word_or_be_none(base: Path) -> None:
    for words, fix in (
        (["epochs=", "5"], "write epochs=5, without a space"),
        (["patience="], "write patience=null for none"),
        (["optimizer.lr=", "epochs=3"], "write it behind the ="),
    ):
        with pytest.raises(UserError, match="is given no value") as refused:
            load_config(base, words)
        assert refused.value.fix == fix


@pytest.mark.parametrize(
    ("words", "what", "fix"),
    [
        ("epochs 5", "'epochs' is not of the form KEY=VALUE", "write epochs=5"),
        ("epochs = 5", "'epochs' is not of the form KEY=VALUE", "write epochs=5"),
        ("epochs: 5", "'epochs:' is not of the form KEY=VALUE", "write epochs=5"),
        ("epochs:5", "'epochs:5' is not of the form KEY=VALUE", "write epochs=5"),
        ("+epochs=5", "'+epochs=5': a key needs no + in front of it", "write epochs=5"),
        ("++epochs=5", "'++epochs=5': a key needs no + in front of it", "write epochs=5"),
        (
            "~patience",
            "'~patience': a key cannot be taken away on the command line",
            "write patience=null for its default",
        ),
        ("~epochs", "'~epochs': a key cannot be taken away on the command line", "delete it in the file"),
    ],
)
def test_a_word_in_the_form_of_another_tool_is_answered_with_dlruns(
    base: Path, words: str, what: str, fix: str
) -> None:
    with pytest.raises(UserError) as refused:
        load_config(base, words.split())
    assert (refused.value.what, refused.value.fix) == (what, fix)
    if fix.startswith("write "):
        load_config(base, [fix.split()[1]])


@pytest.mark.parametrize(
    "word",
    ["epochs=[1", "epochs=&a 1", "epochs=!!int 1", "epochs={a: 1, a: 2}", "epochs=010", "epochs=\udcff"],
)
def test_a_value_that_is_not_yaml_is_refused_with_its_place(base: Path, word: str) -> None:
    with pytest.raises(UserError) as refused:
        load_config(base, [word])
    assert refused.value.where.startswith("on the command line:")


@pytest.mark.parametrize(
    "word", ["optimizer..lr=1", ".=1", "epochs.x=1", "metrics.0=accuracy", "seeds.a.b=1"]
)
def test_a_key_that_leads_nowhere_is_a_mistake(base: Path, word: str) -> None:
    assert mistakes(base, [word])


def test_a_whole_number_beyond_any_seed_is_refused(base: Path) -> None:
    for number in (2**64, 10**400):
        with pytest.raises(UserError, match="not a plain number"):
            load_config(base, [f"seeds=[{number}]"])


def test_words_do_not_change_the_file(base: Path) -> None:
    before = base.read_bytes()
    load_config(base, ["optimizer.name=sgd", "optimizer.lr=1", "expect={}"])
    assert base.read_bytes() == before
    assert load_config(base).optimizer.name == "adam"


# --------------------------------------------------------------------------- expect


def test_lowering_the_epochs_keeps_what_the_claims_speak_of(base: Path, write: Write) -> None:
    assert load_config(base).expect_epochs is None
    assert load_config(base, ["epochs=9"]).expect_epochs == 10
    assert load_config(base, ["epochs=10"]).expect_epochs is None
    assert load_config(base, ["epochs=11"]).expect_epochs is None
    assert load_config(base, ["epochs=9", "expect_epochs=9"]).expect_epochs == 9
    child = write("child.yaml", "base: base.yaml\nepochs: 5\n")
    assert load_config(child).expect_epochs is None
    assert load_config(child, ["epochs=4"]).expect_epochs == 5


def test_a_resolved_config_still_knows_what_its_claims_speak_of(base: Path, write: Write) -> None:
    resolved = write("whole/config.yaml", dump_config(load_config(base)))
    assert load_config(resolved, ["epochs=4"]).expect_epochs == 10
    lowered = write("short/config.yaml", dump_config(load_config(base, ["epochs=4"])))
    assert load_config(lowered).expect_epochs == 10
    assert load_config(lowered, ["epochs=3"]).expect_epochs == 10


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (">= 0.94", [(">=", 0.94)]),
        ("<0.7", [("<", 0.7)]),
        (" > 0.7 , <= 1 ", [(">", 0.7), ("<=", 1.0)]),
        ("== 3", [("==", 3.0)]),
        ("< 1e-3", [("<", 0.001)]),
        ("> -1", [(">", -1.0)]),
    ],
)
def test_a_claim_is_read(text: str, parts: list[tuple[str, float]]) -> None:
    assert parse_claim(text) == parts


@pytest.mark.parametrize(
    "text", ["", "0.94", "=> 1", ">= ", ">= a", "> 1,", ", > 1", "> 1 < 2", "!= 1", "> 1 2", "≥ 1", "> >1"]
)
def test_what_is_no_claim_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a claim"):
        parse_claim(text)


@pytest.mark.parametrize("sign", [">=", "<=", "==", ">", "<"])
def test_a_claim_is_met_where_python_says_so(sign: str) -> None:
    for value in (0.4, 0.5, 0.6):
        assert (
            meets(value, f"{sign} 0.5")
            == {
                ">=": value >= 0.5,
                "<=": value <= 0.5,
                "==": value == 0.5,
                ">": value > 0.5,
                "<": value < 0.5,
            }[sign]
        )


def test_all_parts_of_a_claim_must_be_met_and_nan_meets_none() -> None:
    assert meets(0.5, "> 0.4, < 0.6")
    assert not meets(0.3, "> 0.4, < 0.6")
    assert not meets(0.7, "> 0.4, < 0.6")
    assert not any(meets(math.nan, f"{sign} 0.5") for sign in (">=", "<=", "==", ">", "<"))


# --------------------------------------------------------------------------- finding, comparing


def test_a_config_is_found_by_path_run_folder_or_shipped_name(base: Path, write: Write) -> None:
    assert find_config(str(base)) == base
    assert find_config("base.yaml", beside=base.parent) == base
    inside = write("run-001/config.yaml", BODY)
    assert find_config(str(inside.parent)) == inside
    assert (
        find_config("spiral_relu") == find_config("spiral_relu.yaml") == shipped_folder() / "spiral_relu.yaml"
    )


@pytest.mark.parametrize(
    "text", ["spiral_rely", "../configs_of_others/x", "x" * 300, "nowhere/spiral_relu", "a\0b"]
)
def test_a_config_that_is_not_there_is_answered_with_those_that_are(text: str) -> None:
    with pytest.raises(UserError, match="there is no config") as refused:
        find_config(text)
    assert "spiral_relu" in refused.value.what


def test_what_differs_is_named_by_key_and_option(base: Path) -> None:
    old = load_config(base)
    assert changed_keys(old, load_config(base, ["optimizer.lr=1", "seeds=[1]"])) == ["seeds", "optimizer.lr"]
    assert changed_keys(old, load_config(base, ["optimizer={name: sgd, lr: 1}"])) == ["optimizer"]
    assert changed_keys(old, old) == []


def test_the_value_of_an_option_is_replaced_as_a_whole(base: Path, write: Write) -> None:
    write("weights.yaml", "base: base.yaml\nloss: {name: cross_entropy, class_weight: {a: 8}}\n")
    other = "base: weights.yaml\nloss: {name: cross_entropy, class_weight: {b: 3}}\n"
    assert load_config(write("other.yaml", other)).loss.options["class_weight"] == {"b": 3.0}
    balanced = write(
        "balanced.yaml", "base: base.yaml\nloss: {name: cross_entropy, class_weight: balanced}\n"
    )
    for config in (
        load_config(balanced, ["loss.class_weight.b=5"]),
        load_config(write("above.yaml", "base: balanced.yaml\nloss: {class_weight: {b: 5}}\n")),
    ):
        assert config.loss.options["class_weight"] == {"b": 5.0}
    added = load_config(write("added.yaml", other), ["loss.class_weight.a=2"])
    assert added.loss.options["class_weight"] == {"a": 2.0, "b": 3.0}


@pytest.mark.parametrize("key", ["1", "1.5", "true"])
def test_a_key_that_is_a_number_is_answered_with_quotes(base: Path, write: Write, key: str) -> None:
    text = f"base: base.yaml\nloss: {{name: cross_entropy, class_weight: {{{key}: 8}}}}\n"
    with pytest.raises(UserError) as refused:
        load_config(write("numbers.yaml", text))
    assert refused.value.fix == f'write it in quotes: "{key}"'
