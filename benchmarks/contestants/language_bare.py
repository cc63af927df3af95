"""The character model in a loop by hand, with the windows of a text in one tensor."""

from __future__ import annotations

import math
import time
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.contestants._report import asked, say
from benchmarks.language import BATCH, HEADS, LAYERS, RATE, WIDTH, WINDOW
from dlrun.architecture.transformer import transformer

words = asked()
text = words.data.read_text(encoding="utf-8")
letters = {letter: number for number, letter in enumerate(sorted(set(text)))}
ids = torch.tensor([letters[letter] for letter in text])
cut = len(ids) - round(0.1 * len(ids))
train, test = (part.unfold(0, WINDOW + 1, WINDOW) for part in (ids[:cut], ids[cut:]))

torch.manual_seed(0)
about: Any = SimpleNamespace(vocabulary=tuple(letters), places=(WINDOW,))
model = transformer((WINDOW,), len(letters), about, layers=LAYERS, width=WIDTH, heads=HEADS, causal=True)
optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01, fused=True)
whole, bits = [], math.nan
for _ in range(words.epochs):
    started = time.perf_counter()
    model.train()
    total = 0.0
    for indices in torch.randperm(len(train)).split(BATCH):
        windows = train[indices]
        loss = F.cross_entropy(model(windows[:, :-1]), windows[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(indices)
    model.eval()
    with torch.no_grad():
        losses = [
            F.cross_entropy(model(w[:, :-1]), w[:, 1:], reduction="sum").item() for w in test.split(1024)
        ]
    bits = sum(losses) / test[:, 1:].numel() / math.log(2)
    whole.append(time.perf_counter() - started)
say(whole=sum(whole[1:]) / len(whole[1:]), bits=bits, threads=torch.get_num_threads())
