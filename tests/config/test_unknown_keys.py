"""A key, option or value that dlrun does not have leads to one that it has, and the advice is accepted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from small_configs import BODY, mistakes

from dlrun.config import other_words
from dlrun.config.keys import KEYS
from dlrun.config.loading import load_config
from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import KINDS, Parts
from dlrun.config.strict_yaml import parse
from dlrun.errors import UserError

Write = Callable[[str, str], Path]


def advised(mistake: str) -> str:
    found = re.search(r"[:;] write (.*?)( without quotes)?( \(there are: .*)?$", mistake)
    assert found, mistake
    return found[1]


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        ("model=MLP", "architecture=mlp"),
        ("model.hidden=[3]", "architecture.hidden=[3]"),
        ("data.points=30", "dataset.points=30"),
        ("criterion=CrossEntropyLoss", "loss=cross_entropy"),
        ("scheduler=cosine", "schedule=cosine"),
        ("optim.learning_rate=0.3", "optimizer.lr=0.3"),
        ("learning_rate=0.1", "optimizer.lr=0.1"),
        ("lr=0.1", "optimizer.lr=0.1"),
        ("hidden=[3]", "architecture.hidden=[3]"),
        ("hidden_sizes=3,4", "architecture.hidden=[3,4]"),
        ("dropout=0.1", "architecture.dropout=0.1"),
        ("max_epochs=3", "epochs=3"),
        ("trainer.max_epochs=3", "epochs=3"),
        ("trainer.epochs=3", "epochs=3"),
        ("batch=16", "batch_size=16"),
        ("early_stopping=3", "patience=3"),
        ("seed=3", "seeds=[3]"),
        ("optimizer.learning_rate=0.1", "optimizer.lr=0.1"),
        ("optimizer.type=SGD", "optimizer.name=sgd"),
        ("optimizer._target_=torch.optim.Adam", "optimizer.name=adam"),
        ("optimizer.class_path=torch.optim.SGD", "optimizer.name=sgd"),
    ],
)
def test_a_word_of_another_tool_leads_to_dlruns_own(base: Path, word: str, remedy: str) -> None:
    [mistake] = mistakes(base, [word])
    assert mistake.startswith(f"on the command line: {word.partition('=')[0]}") or "." in word
    assert "there is no such" in mistake or "there is no section trainer" in mistake
    assert advised(mistake) == remedy
    load_config(base, [remedy])


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        ("optimizer.lr='0.001'", "0.001"),
        ("optimizer.lr=0,001", "0.001"),
        ("optimizer.lr=10%", "0.1"),
        ("epochs=1e2", "100"),
        ("epochs=1,000", "1000"),
        ("epochs=1_000", "1000"),
        ("architecture.hidden=100", "[100]"),
        ("architecture.hidden='100, 100'", "[100, 100]"),
        ("architecture.hidden=(10,20)", "[10, 20]"),
        ("compile=yes", "true"),
        ("compile=1", "true"),
        ("device=0", "cuda:0"),
        ("device=gpu", "cuda"),
        ("seeds=3", "[3]"),
    ],
)
def test_a_value_of_another_form_is_written_as_it_is_accepted(base: Path, word: str, remedy: str) -> None:
    key, _, value = word.partition("=")
    is_quoted = value.startswith("'") and value.endswith("'")
    path = base if not is_quoted else _in_file(base, key, value)
    [mistake] = mistakes(path, [] if is_quoted else [word])
    assert advised(mistake) == remedy
    assert mistake.endswith("without quotes") == (value == "'0.001'")
    load_config(base, [f"{key}={remedy}"])


def _in_file(base: Path, key: str, value: str) -> Path:
    path = base.with_name("quoted.yaml")
    text = re.sub(rf"\b{key.rpartition('.')[2]}: (\[4\]|[^,}}]*)", f"{key.rpartition('.')[2]}: {value}", BODY)
    path.write_text(text)
    return path


def test_every_word_of_the_lists_is_answered_with_one_that_exists(base: Path) -> None:
    every = Parts()
    options = {
        name
        for kind in KINDS
        for part in map(partial(every.part, kind), every.names(kind))
        for name in part.options | part.common
    }
    assert {*other_words._KEYS} <= {*KEYS, "base"}
    assert {*other_words._OPTIONS} <= options
    assert {*other_words._PARTS.values()} <= {name for kind in KINDS for name in every.names(kind)}
    words = {word: ours for ours, others in other_words._KEYS.items() for word in others.split()}
    few = [list(words)[start : start + 40] for start in range(0, len(words), 40)]  # which are explained
    found = [mistake for some in few for mistake in mistakes(base, [f"{word}=3" for word in some])]
    assert len(found) == len(words)
    for mistake in found:
        word = mistake.removeprefix("on the command line: ").split(":")[0]
        assert f"dlrun's word is {words[word]}" in mistake


def test_of_very_many_unknown_keys_the_first_are_explained(base: Path) -> None:
    found = mistakes(base, [f"lr{number}=3" for number in range(60)])
    assert len(found) == 60 and "dlrun" not in found[-1]
    assert found[-1].endswith("lr59: there is no such key")


def test_an_option_beside_its_part_is_written_into_it(write: Write) -> None:
    text = "lr: 0.1\nhidden: [3]\nactivation: ReLU\n" + BODY.replace(", hidden: [4], activation: tanh", "")
    path = write("flat.yaml", text.replace("{name: adam, lr: 1e-2, weight_decay: 1e-5}", "adam"))
    assert mistakes(path) == [
        f"{path}:1:1 lr: there is no such key; lr is an option of optimizer.adam: "
        "write optimizer: {name: adam, lr: 0.1}",
        f"{path}:2:1 hidden: there is no such key; hidden is an option of architecture.mlp: "
        "write architecture: {name: mlp, hidden: [3], activation: ReLU}",
        f"{path}:3:1 activation: there is no such key; activation is an option of architecture.mlp: "
        "write architecture: {name: mlp, hidden: [3], activation: ReLU}",
    ]
    found = BODY
    for mistake in mistakes(path)[:2]:
        key, _, rest = advised(mistake).partition(":")
        found = re.sub(rf"^{key}:.*$", f"{key}:{rest}", found, flags=re.MULTILINE)
    config = load_config(write("followed.yaml", found))
    assert (config.optimizer.options["lr"], config.architecture.options["activation"]) == (0.1, "relu")


def test_the_weights_that_other_tools_begin_with_are_architecture_weights(base: Path) -> None:
    for words in ("pretrained=first.pt", "initial_checkpoint=first.pt", "architecture.pretrained=first.pt"):
        [mistake] = mistakes(base, [words])
        assert mistake.endswith("write architecture.weights=first.pt"), mistake


def test_an_option_of_another_part_is_said_to_be_one(base: Path) -> None:
    assert mistakes(base, ["momentum=0.9"]) == [
        "on the command line: momentum: there is no such key; "
        "momentum is an option of optimizer muon, rmsprop, sam, sgd, not of adam"
    ]
    assert (
        "size is an option of dataset image_folder, shapes, symbols, not of spiral"
        in mistakes(base, ["imgsz=9"])[0]
    )


@pytest.mark.parametrize(
    ("right", "wrong", "place"),
    [
        ("epochs: 10", "epoch: 10", "5:1"),
        ("epochs: 10", "epohcs: 10", "5:1"),
        ("batch_size: full", "batchsize: full", "6:1"),
        ("optimizer: {", "optimzer: {", "4:1"),
        ("optimizer: {", "solver: {", "4:1"),
        ("lr: 1e-2", "learning_rate: 1e-2", "4:25"),
        ("lr: 1e-2", "lrr: 1e-2", "4:25"),
        ("loss: cross_entropy", "criterion: cross_entropy", "3:1"),
    ],
)
def test_a_required_key_in_other_words_is_one_mistake(
    write: Write, right: str, wrong: str, place: str
) -> None:
    path = write("bad.yaml", BODY.replace(right, wrong))
    [mistake] = mistakes(path)
    assert mistake.startswith(f"{path}:{place} ")


def test_a_section_of_another_tool_has_a_mistake_for_each_of_its_keys(write: Write) -> None:
    text = BODY.replace("epochs: 10\nbatch_size: full\n", "trainer:\n  max_epochs: 10\n  batch_size: full\n")
    path = write("bad.yaml", text)
    assert mistakes(path) == [
        f"{path}:6:3 trainer.max_epochs: there is no section trainer; "
        "dlrun's word is epochs at the top level: write epochs: 10",
        f"{path}:7:3 trainer.batch_size: there is no section trainer; "
        "dlrun's word is batch_size at the top level: write batch_size: full",
    ]


def test_a_part_under_another_word_or_in_a_list_is_one_mistake(write: Write) -> None:
    path = write("bad.yaml", BODY.replace("{name: adam, lr: 1e-2,", "{type: torch.optim.Adam, lr: 1e-2,"))
    [mistake] = mistakes(path)
    assert "the name of the part is missing; dlrun's word for type is name: write name: adam" in mistake
    path = write("list.yaml", re.sub("optimizer: .*", "optimizer:\n  - name: adam\n  - lr: 0.01", BODY))
    [mistake] = mistakes(path)
    assert "write it without the dashes, as {name: adam, lr: 0.01}" in mistake
    assert f"{path}:5:3 optimizer: " in mistake


@pytest.mark.parametrize(
    ("word", "key", "meant"),
    [
        ("architecture.activation=ReLU", "architecture.activation", "relu"),
        ("optimizer=AdamW", "optimizer.name", "adamw"),
        ("loss=Cross_Entropy", "loss", "cross_entropy"),
        ("batch_size=Full", "batch_size", "full"),
        ("device=CPU", "device", "cpu"),
        ("precision=Float64", "precision", "float64"),
        ("metrics=[Accuracy]", "metrics", ["accuracy"]),
        ("plots=AUTO", "plots", ["auto"]),
        ("task=Classification", "task", "classification"),
    ],
)
def test_parts_and_choices_are_found_in_any_case_and_recorded_in_their_own(
    base: Path, word: str, key: str, meant: Any
) -> None:
    found: Any = load_config(base, [word]).plain()
    for step in key.split("."):
        found = found[step]
    assert (found["name"] if isinstance(found, dict) else found) == meant


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("architecture.hidden=100,100", [100, 100]),
        ("seeds=0,1,2", [0, 1, 2]),
        ("metrics=accuracy,top5", ["accuracy", "top5"]),
        ("plots=curves,decision_regions", ["curves", "decision_regions"]),
    ],
)
def test_values_between_commas_are_a_list_on_the_command_line(
    base: Path, word: str, meant: list[Any]
) -> None:
    key, _, written = word.partition("=")
    config = load_config(base, [word])
    assert config.plain() == load_config(base, [f"{key}=[{written}]"]).plain()
    found = config.architecture.options["hidden"] if "hidden" in key else getattr(config, key)
    assert [getattr(each, "name", each) for each in found] == meant


def test_what_needs_no_key_is_said_to_need_none(base: Path) -> None:
    [mistake] = mistakes(base, ["num_workers=3"])
    assert mistake.endswith("there is no such key, and none is needed: leave it out")


def test_a_remedy_is_a_text_that_a_shell_and_yaml_read_back_as_its_value(base: Path) -> None:
    [mistake] = mistakes(base, ["experiment_name='007'"])
    [word] = shlex.split(advised(mistake))
    assert parse(word.partition("=")[2], "here").value == "007"


@pytest.mark.parametrize(
    ("slip", "remedy"),
    [
        ("architecture: [mlp]", "architecture: mlp"),
        ("name: my first run", "name: my_first_run"),
        ("patience: None", "patience: null"),
        ("gradient_clip: none\npatience: NONE", "gradient_clip: null\npatience: null"),
    ],
)
def test_what_is_advised_in_place_of_a_value_is_taken(
    write: Write, slip: str, remedy: str, base: Path
) -> None:
    path = write("slip.yaml", f"base: base.yaml\n{slip}\n")
    with pytest.raises(ConfigError) as refused:
        load_config(path)
    for mistake, line in zip(refused.value.mistakes, remedy.splitlines(), strict=True):
        written = re.search(r"; write (\S+)", mistake.what)
        assert written and written[1] == line.partition(": ")[2]
    load_config(write("mended.yaml", f"base: base.yaml\n{remedy}\n"))
    assert base.exists()


def test_a_part_whose_lines_are_not_indented_is_said(write: Write) -> None:
    flat = BODY.replace("{name: mlp, hidden: [4], activation: tanh}", "\nname: mlp")
    [mistake] = mistakes(write("flat.yaml", flat))
    assert mistake.endswith("; indent the lines that belong to architecture, from name: mlp on")
    load_config(write("mended.yaml", flat.replace("\nname", "\n  name")))


def test_an_equals_sign_within_braces_is_said(write: Write) -> None:
    with pytest.raises(UserError) as refused:
        load_config(write("equals.yaml", BODY.replace("lr: 1e-2", "lr=1e-2")))
    assert refused.value.what == "a = where a colon belongs"
    assert refused.value.fix == "write lr: 1e-2"


def test_a_table_in_place_of_a_dataset_is_shown_in_one(base: Path) -> None:
    [mistake] = mistakes(base, ["dataset=train.csv"])
    assert mistake.endswith("; write 'dataset={name: csv,path: train.csv,target: COLUMN}' for a table")
    [mistake] = mistakes(base, ["data=train.csv"])
    assert mistake.endswith("dlrun's word is dataset")


@pytest.mark.parametrize(
    ("word", "meant"),
    [("fp16", "float16"), ("bf16-mixed", "bfloat16"), ("32", "float32"), ("double", "float64")],
)
def test_a_precision_in_other_words_is_said_in_dlruns(base: Path, word: str, meant: str) -> None:
    [mistake] = mistakes(base, [f"precision={word}"])
    assert advised(mistake) == meant


def test_a_number_in_place_of_a_text_is_no_precision(base: Path) -> None:
    [mistake] = mistakes(base, ["name=16"])
    assert advised(mistake) == "'name=\"16\"'"
    assert load_config(base, ['name="16"']).name == "16"


def test_betas_are_two_options(base: Path) -> None:
    [mistake] = mistakes(base, ["optimizer=adam", "optimizer.betas=[0.8,0.95]"])
    assert advised(mistake) == "optimizer.beta1=0.8 and optimizer.beta2=0.95"
    for wrong in ("[x,0.9]", "[]", "[0.8,0.9,0.99]"):
        [mistake] = mistakes(base, ["optimizer=adam", f"optimizer.betas={wrong}"])
        assert mistake.endswith("dlrun's words are beta1 and beta2")


@pytest.mark.parametrize("word", ["monitor=3", "task=3", "architecture.weights=3"])
def test_a_number_that_names_nothing_is_not_advised_in_quotes(base: Path, word: str) -> None:
    [mistake] = mistakes(base, [word])
    assert "write" not in mistake


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        (
            "accumulate_grad_batches=4",
            "multiply batch_size by it, and set micro_batch to the batch_size of before",
        ),
        ("ema_decay=0.99", "write average: ema"),
        ("swa=true", "write average: swa"),
        ("max_steps=100", "set epochs: 1 and epoch_examples"),
        ("n_splits=5", "dlrun train CONFIG --folds 5"),
        ("tta=flip", "dlrun eval RUN --tta flip, and predict, average over views of an image"),
        ("off_epochs=2", "off_epochs is an option of each augmentation"),
    ],
)
def test_a_key_of_another_tool_that_is_no_other_word_has_an_answer(
    base: Path, word: str, answer: str
) -> None:
    [mistake] = mistakes(base, [word])
    assert answer in mistake
