"""Examples of each command, which its --help shows: a line each that no terminal of 80 columns breaks."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "train": (
        "dlrun train spiral_relu",
        "dlrun train spiral_relu optimizer.lr=3e-4 epochs=100 --seeds 3",
        "dlrun train my.yaml optimizer=sgd architecture.hidden=100,100",
        "dlrun train my.yaml --from last optimizer.lr=1e-4",
    ),
    "resume": ("dlrun resume last", "dlrun resume spiral_relu-002 epochs=2000"),
    "eval": (
        "dlrun eval last",
        "dlrun eval last --on new.csv",
        "dlrun eval last --split test --csv",
    ),
    "calibrate": (
        "dlrun calibrate last",
        "dlrun calibrate last --threshold f1",
        "dlrun calibrate last --remove",
    ),
    "predict": (
        "dlrun predict last photos/ more.png",
        "dlrun predict last new.csv --csv",
        "dlrun predict last --tta flip photos/",
    ),
    "plot": ("dlrun plot last", "dlrun plot last decision_regions.split=test --out pictures"),
    "export": (
        "dlrun export last",
        "dlrun export last --ensemble -o model.pt2",
        "dlrun export last --seed 0 --format safetensors",
    ),
    "data": ("dlrun data temps", "dlrun data my.yaml dataset.path=table.csv"),
    "configs": ("dlrun configs",),
    "init": ("dlrun init my.csv --target price", "dlrun init photos/", "dlrun init"),
    "show": ("dlrun show mnist_threenet", "dlrun show my.yaml optimizer=sgd"),
    "lr": (
        "dlrun lr spiral_relu --seeds 3",
        "dlrun lr my.yaml optimizer=sgd --from 1e-5 --to 100",
        "dlrun lr my.yaml --apply",
    ),
    "parts": ("dlrun parts mlp", "dlrun parts optimizer", "dlrun parts --parts my_parts"),
    "schema": ("dlrun schema -o config.schema.json", "dlrun schema --parts my_parts"),
    "new": ("dlrun new loss my_focal", "dlrun new dataset mine --parts my_parts"),
    "sweep": (
        "dlrun sweep spiral_relu optimizer.lr=1e-4,1e-3,1e-2 --seeds 5",
        "dlrun sweep spiral_relu architecture.hidden=[50],[100,100] --dry-run",
        "dlrun sweep --resume spiral_relu-sweep-001",
        "dlrun sweep --resume spiral_relu-sweep-001 --shard 3/8",
    ),
    "slurm": (
        "dlrun slurm spiral_relu --gpus 1 --time 4:00:00",
        "dlrun slurm my.yaml --nodes 2 --gpus 8 --time 1-00:00:00 -- --mem=64G",
        "dlrun slurm spiral_relu-sweep-001 --array 8 --gpus 1",
    ),
    "compare": ("dlrun compare 'spiral_*'", "dlrun compare spiral_relu-sweep-001 --metric train_loss"),
    "report": (
        "dlrun report last",
        "dlrun report spiral_relu-sweep-001 -o sweep.html",
        "dlrun report spiral_relu-001 spiral_relu-002 --metric train_accuracy",
        "dlrun report last --markdown -o card",
    ),
    "log": ("dlrun log last --to tensorboard", "dlrun log 'spiral_*' --to mlflow"),
    "runs": ("dlrun runs --where 'train_accuracy > 0.9'", "dlrun runs --sort -train_accuracy"),
    "rm": ("dlrun rm spiral_relu-001", "dlrun rm spiral_relu-sweep-001 --yes"),
    "diff": ("dlrun diff spiral_relu-001 spiral_relu-002",),
    "reproduce": ("dlrun reproduce last", "dlrun reproduce last dataset.path=moved.csv"),
}


def epilog(command: str) -> str:
    """The examples of a command as the end of its help: Typer begins a line where there is an empty one."""
    return "\n\n".join(["Examples:", *EXAMPLES[command]])
