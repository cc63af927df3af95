"""scikit-learn on the rows of a table that dlrun has split: one line of JSON with its figures for each seed.

Its argument is a file of JSON: `file`, `reading` (options of pandas.read_csv), `target`, `task`, `ignore`,
`hidden`, `seeds`, and `splits` as table_rows gives them. Each model is fitted on the rows of train and valid,
for it holds out a tenth by itself where it stops early.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

TEXTS = make_column_selector(dtype_exclude="number")
NUMBERS = make_column_selector(dtype_include="number")


def prepared() -> ColumnTransformer:
    """Numbers filled and standardised, texts one-hot, as the user guide writes it."""
    return ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS),
            ("texts", OneHotEncoder(handle_unknown="ignore", sparse_output=False), TEXTS),
        ]
    )


def trees(seed: int, is_classes: bool) -> Any:
    """Gradient boosting with its defaults, for which texts are numbered and missing cells stay."""
    numbered = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = ColumnTransformer([("texts", numbered, TEXTS), ("numbers", "passthrough", NUMBERS)])
    model = HistGradientBoostingClassifier if is_classes else HistGradientBoostingRegressor
    return make_pipeline(columns, model(random_state=seed))


def network(hidden: list[int], seed: int, is_classes: bool) -> Any:
    model = MLPClassifier if is_classes else MLPRegressor
    return make_pipeline(
        prepared(), model(hidden_layer_sizes=tuple(hidden), early_stopping=True, random_state=seed)
    )


def linear(is_classes: bool) -> Any:
    return make_pipeline(prepared(), LogisticRegression(max_iter=1000) if is_classes else Ridge())


def table_of(asked: dict[str, Any]) -> pd.DataFrame:
    """The table as pandas reads it; columns without names are c1, c2, …"""
    table = pd.read_csv(asked["file"], **asked["reading"])
    if asked["reading"].get("header", "") is None:
        table.columns = [f"c{place}" for place in range(1, len(table.columns) + 1)]
    return table.drop(columns=asked["ignore"])


def same(ours: pd.Series, theirs: list[Any], is_classes: bool) -> bool:
    """True if the targets of some rows are those that dlrun has read in them."""
    if is_classes:
        return [_plain(value) for value in ours] == [_plain(value) for value in theirs]
    return bool(np.allclose(ours.astype(float), theirs, rtol=1e-5))


def _plain(value: Any) -> str:
    try:
        return f"{float(value):g}"
    except ValueError:
        return str(value)


def main() -> None:
    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    is_classes = asked["task"] == "classification"
    table = table_of(asked)
    splits = asked["splits"]
    for name, split in splits.items():
        if not same(table[asked["target"]].iloc[split["rows"]], split["targets"], is_classes):
            raise SystemExit(f"the rows of {name} have other targets here: they are not the same rows")
    inputs, targets = table.drop(columns=asked["target"]), table[asked["target"]]
    fitted = [row for name in ("train", "valid") if name in splits for row in splits[name]["rows"]]
    test = splits["test"]["rows"]
    models: dict[str, Callable[[int], Any]] = {
        "mlp": lambda seed: network(asked["hidden"], seed, is_classes),
        "trees": lambda seed: trees(seed, is_classes),
        "linear": lambda seed: linear(is_classes),
    }
    if not is_classes:
        models["scaled"] = lambda seed: TransformedTargetRegressor(
            network(asked["hidden"], seed, is_classes), transformer=StandardScaler()
        )
    found: dict[str, list[float]] = {}
    warnings.simplefilter("ignore", ConvergenceWarning)  # its default of 200 epochs is what is compared
    for name, model in models.items():
        found[name] = [
            float(
                model(seed)
                .fit(inputs.iloc[fitted], targets.iloc[fitted])
                .score(inputs.iloc[test], targets.iloc[test])
            )
            for seed in asked["seeds"]
        ]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
