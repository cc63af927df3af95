"""The shares of an epoch of ThreeNet in dlrun by kind of work, from PyTorch's profiler."""

from time import perf_counter

from torch.profiler import profile

from benchmarks.contestants._report import asked, say
from dlrun.config.loading import load_config
from dlrun.config.lookup import find_config
from dlrun.config.registry import Parts
from dlrun.training.loop import fit
from dlrun.training.plan_making import make_plan

KINDS = {
    "matrix products": ("addmm", "mm"),
    "gathering and normalising of batches, and other copies": ("index_select", "copy_", "sub_", "mul_"),
    "activations": ("clamp_min", "threshold_backward"),
    "loss, metrics and the gradients of biases": (
        "_log_softmax",
        "_log_softmax_backward_data",
        "nll_loss_forward",
        "nll_loss_backward",
        "argmax",
        "eq",
        "sum",
    ),
    "optimizer": ("_fused_sgd_",),
}
REST = "all else, such as Python and what PyTorch does around its kernels"

words = asked()
parts = Parts()
overrides = [f"epochs={words.epochs}", "device=cpu", "evaluate_train_every=null", "monitor=train_loss"]
overrides += [f"threads={words.threads}", "expect={}"]
plan = make_plan(load_config(find_config("mnist_threenet"), overrides, parts), parts, words.data)
loaded = plan.load()
hardware = plan.hardware(loaded)
hardware.use()
rows = fit(plan.state(hardware), loaded, plan.recipe, hardware)
next(rows)
with profile() as profiled:
    started = perf_counter()
    for _ in rows:
        pass
    whole = (perf_counter() - started) * 1e6
of_each = {event.key.removeprefix("aten::"): event.self_cpu_time_total for event in profiled.key_averages()}
shares = {kind: sum(of_each.get(name, 0.0) for name in names) / whole for kind, names in KINDS.items()}
say(shares=shares | {REST: 1 - sum(shares.values())})
