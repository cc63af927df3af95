"""Words of other tools for dlrun's keys, options and parts, to say in a message which word is meant."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

_KEYS = {
    "architecture": "model network net nn arch backbone model_name model_type architectures",
    "dataset": "data datamodule data_module datasets train_data training_data train_dataset "
    "dataloader loader",
    "loss": "criterion loss_fn loss_function loss_func objective losses cost",
    "optimizer": "optim optimiser solver opt optimizers",
    "schedule": "scheduler lr_scheduler lr_schedule learning_rate_scheduler lr_scheduler_type schedulers",
    "average": "weight_averaging averaging model_averaging",
    "metrics": "metric",
    "augmentations": "augmentation augment transforms transform data_augmentation auto_augment aa",
    "plots": "plot figures pictures",
    "epochs": "epoch max_epochs num_epochs n_epochs nb_epochs num_train_epochs nepochs max_iter max_epoch",
    "batch_size": "batch batchsize bs train_batch_size mini_batch_size minibatch_size minibatch batch_sz "
    "per_device_train_batch_size",
    "micro_batch": "micro_batch_size microbatch microbatch_size",
    "evaluation_batch_size": "eval_batch_size val_batch_size valid_batch_size test_batch_size "
    "per_device_eval_batch_size",
    "seeds": "seed random_seed random_state manual_seed rng_seed seed_everything",
    "patience": "early_stopping early_stop early_stopping_patience earlystopping early_stopping_rounds "
    "n_iter_no_change",
    "gradient_clip": "grad_clip clip_grad gradient_clip_val max_grad_norm clip_grad_norm clipnorm "
    "gradient_clipping clip_gradient",
    "device": "gpu gpus cuda accelerator devices",
    "gradient_clip_mode": "clip_mode gradient_clip_algorithm",
    "precision": "amp mixed_precision dtype fp16 bf16 use_amp",
    "threads": "num_threads n_threads torch_threads",
    "name": "experiment experiment_name run_name exp_name run",
    "evaluate_every": "eval_every val_every check_val_every_n_epoch eval_interval validate_every eval_freq",
    "compile": "torch_compile",
    "processes": "nproc_per_node num_processes nprocs world_size num_gpus n_gpus",
    "process_timeout": "ddp_timeout nccl_timeout",
    "channels_last": "memory_format channel_last use_channels_last",
    "sampling": "sampler weighted_sampler weightedrandomsampler balanced_sampling oversampling",
    "limit": "max_samples max_examples subset limit_train_batches",
    "monitor": "metric_for_best_model save_best",
    "track": "logger loggers report_to trackers tracker log_with logging use_wandb wandb tensorboard mlflow",
    "max_time": "time_limit timeout time_budget max_duration max_hours",
    "keep": "save_total_limit save_top_k keep_checkpoint_max max_to_keep n_best checkpoint_hist",
    "keep_every": "save_period save_every save_freq save_interval every_n_epochs checkpoint_every",
    "freeze": "freeze_layers frozen_layers frozen",
    "freeze_epochs": "unfreeze_at_epoch unfreeze_backbone_at_epoch",
    "base": "defaults extends inherit inherits _base_ include",
}
_OPTIONS = {
    "lr": "learning_rate learningrate lr0 eta eta0 learning_rate_init base_lr initial_lr init_lr step_size",
    "weight_decay": "l2 wd l2_reg weightdecay",
    "beta1": "beta_1",
    "beta2": "beta_2",
    "eps": "epsilon",
    "hidden": "hidden_size hidden_sizes hidden_layers hidden_layer_sizes hidden_units hidden_dim hidden_dims "
    "units num_units layer_sizes",
    "layers": "num_layers n_layers depth n_layer",
    "heads": "num_heads n_heads nhead n_head",
    "width": "d_model embed_dim embedding_dim hidden_size",
    "channels": "filters num_filters out_channels",
    "kernel_size": "kernel",
    "drop_path": "drop_path_rate stochastic_depth stochastic_depth_prob",
    "dropout": "dropout_rate drop_rate p_drop dropout_prob dropout_p",
    "activation": "act act_fn activation_fn activation_function nonlinearity",
    "batch_norm": "batchnorm bn use_bn norm",
    "path": "root data_dir data_path csv csv_path filename file_path file dir folder data_file train_path",
    "target": "label label_column target_column target_col y label_col labels targets output_column",
    "test_fraction": "test_size test_split test_ratio",
    "valid_fraction": "val_size val_split valid_size validation_split val_fraction val_ratio valid_split",
    "folds": "n_splits n_folds num_folds k_folds kfold kfolds k_fold cv n_fold",
    "separator": "sep delimiter",
    "size": "imgsz image_size img_size input_size",
    "store_size": "resize_size presize",
    "inputs": "features feature_columns input_columns x",
    "points": "n_samples samples",
    "weights": "pretrained pretrained_weights initial_checkpoint init_checkpoint checkpoint checkpoint_path",
    "drop_rate": "dropout",
    "warmup_epochs": "warm_up_epochs num_warmup_epochs",
    "warmup": "warmup_ratio",
    "label_smoothing": "smoothing",
    "class_weight": "class_weights weight",
    "pos_weight": "scale_pos_weight positive_weight",
    "probability": "p prob",
    "rotation": "degrees",
    "shift": "translate",
    "distortion": "distortion_scale",
    "factor": "sharpness_factor",
    "operations": "num_ops",
    "all_operations": "all_ops",
}
_PARTS = {
    "mae": "l1",
    "mean_absolute_error": "l1",
    "mean_squared_error": "mse",
    "categorical_crossentropy": "cross_entropy",
    "sparse_categorical_crossentropy": "cross_entropy",
    "log_loss": "cross_entropy",
    "poly1": "poly",
    "pinball": "quantile",
    "mean_pinball_loss": "quantile",
    "poissonnllloss": "poisson",
    "gaussian": "gaussian_nll",
    "cosineembeddingloss": "cosine",
    "cosine_similarity": "cosine",
    "binary_crossentropy": "bce",
    "bcewithlogitsloss": "bce",
    "steplr": "step",
    "multisteplr": "milestones",
    "reducelronplateau": "plateau",
    "onecyclelr": "one_cycle",
    "cosineannealinglr": "cosine",
    "multilayerperceptron": "mlp",
    "feedforward": "mlp",
    "convnet": "cnn",
    "lstm": "rnn",
    "gru": "rnn",
    "resnet18": "torchvision",
    "resnet50": "torchvision",
    "table": "csv",
    "imagefolder": "image_folder",
    "timeseries": "windows",
    "colorjitter": "colour_jitter",
    "gaussianblur": "blur",
    "randomaffine": "affine",
    "randomrotation": "affine",
    "randomcrop": "crop",
    "randomerasing": "erasing",
    "randomgrayscale": "grayscale",
    "randomhorizontalflip": "flip",
    "randomverticalflip": "flip",
    "randomperspective": "perspective",
    "randomadjustsharpness": "sharpen",
    "sharpness": "sharpen",
    "randomposterize": "posterise",
    "posterize": "posterise",
    "randomsolarize": "solarise",
    "solarize": "solarise",
    "randomequalize": "equalise",
    "equalize": "equalise",
    "randomautocontrast": "autocontrast",
    "trivialaugmentwide": "trivial_augment",
    "ta_wide": "trivial_augment",
    "ra": "rand_augment",
    "rand": "rand_augment",
    "original": "auto_augment",
    "v0": "auto_augment",
    "asam": "sam",
    "permutation_importance": "importance",
    "feature_importance": "importance",
    "layergradcam": "grad_cam",
    "gradient": "saliency",
    "saliency_map": "saliency",
    "projector": "embeddings",
    "pca": "embeddings",
}
_VALUES = {
    "float16": "fp16 half 16 16_mixed 16_true f16",
    "bfloat16": "bf16 bf16_mixed bf16_true brain",
    "float32": "fp32 single float 32 32_true f32",
    "float64": "fp64 double 64 64_true f64",
}
_POLICY = re.compile(r"(rand|augmix|original|v0)-\w+")  # timm's: rand-m9-mstd0.5-inc1
_PAIRS = {"betas": ("beta1", "beta2")}  # options of which another tool makes one
_ACCUMULATION = "multiply batch_size by it, and set micro_batch to the batch_size of before"
_EMA = "dlrun's word is average: write average: ema, or average: {name: ema, decay: 0.999}"
ANSWERS = {  # keys of other tools that are not another word for one key
    **dict.fromkeys(
        ("accumulate_grad_batches", "gradient_accumulation_steps", "grad_accum_steps", "grad_accum"),
        _ACCUMULATION,
    ),
    **dict.fromkeys(("accumulate", "accumulation_steps", "gradient_accumulation"), _ACCUMULATION),
    **dict.fromkeys(("ema", "model_ema", "use_ema", "ema_decay", "ema_momentum", "model_ema_decay"), _EMA),
    **dict.fromkeys(("swa", "use_swa"), "dlrun's word is average: write average: swa"),
    **dict.fromkeys(
        ("max_steps", "total_steps", "num_steps"),
        "set epochs: 1 and epoch_examples to so many times the batch_size",
    ),
    **dict.fromkeys(
        ("n_splits", "n_folds", "num_folds", "k_folds", "kfold", "cv"),
        "dlrun train CONFIG --folds 5 trains a run for each fold",
    ),
    **dict.fromkeys(
        ("tta", "test_time_augmentation"),
        "dlrun eval RUN --tta flip, and predict, average over views of an image",
    ),
    **dict.fromkeys(
        ("off_epochs", "mixup_off_epoch", "close_mosaic"), "off_epochs is an option of each augmentation"
    ),
}
NEEDLESS = ("num_workers", "pin_memory", "persistent_workers", "prefetch_factor", "shuffle")
NAMES_OF_PART = ("type", "class", "class_path", "_target_", "class_name", "kind")
SECTIONS = (
    *("trainer", "training", "train", "train_args", "training_args", "trainer_args", "fit", "run", "main"),
    *("hyperparameters", "hyperparams", "hparams", "params", "args", "options", "settings", "config"),
    *("experiment", "learning"),
)


def _by_other(words: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for ours, others in words.items():
        for other in others.split():
            found.setdefault(other, []).append(ours)
    return found


_KEY_OF, _OPTIONS_OF, _VALUES_OF = _by_other(_KEYS), _by_other(_OPTIONS), _by_other(_VALUES)


def plainly(word: str) -> str:
    """A word as the lists here have it: `--Max-Epochs` is max_epochs."""
    return word.strip().lstrip("-+~").lower().replace("-", "_").replace(" ", "_")


def key_meant(word: str) -> str:
    """The top-level key that another tool calls `word`; "" if there is none."""
    return _KEY_OF.get(plainly(word), [""])[0]


def option_meant(word: str, known: Collection[str]) -> str:
    """The one of the `known` options that is meant by `word`: itself, or what another tool calls so."""
    return next((name for name in (plainly(word), *_OPTIONS_OF.get(plainly(word), ())) if name in known), "")


def options_together(word: str, known: Collection[str]) -> tuple[str, ...]:
    """The `known` options that another tool has as one list, such as `betas`; () if there are none."""
    together = _PAIRS.get(plainly(word), ())
    return together if all(name in known for name in together) else ()


def value_meant(word: str, choices: Collection[str]) -> str | None:
    """The one of an option's `choices` that another tool calls `word`; None if there is none."""
    return next((choice for choice in _VALUES_OF.get(plainly(word), ()) if choice in choices), None)


def part_meant(word: str, names: Collection[str]) -> str:
    """The part that another library calls `word`, such as `torch.optim.Adam`; "" if it is none of `names`."""
    policy = _POLICY.match(word)
    last = policy[1] if policy else plainly(word.rpartition(".")[2])
    joined = {name.replace("_", ""): name for name in names}
    found = (last, _PARTS.get(last, ""), joined.get(last.removesuffix("loss"), ""))
    return next((name for name in found if name in names), "")
