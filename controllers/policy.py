"""The policy: a recurrent network that answers a space's decisions one after the other.

The state of an LSTM, fed with the answers so far, gives a preference for every label of the next
decision; options that are not allowed are masked. Options with equal labels share a preference, so that
the untrained policy is the space's own uniform sampling, permutations included.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from search_space import Genotype
from search_space.decisions import Decisions, options

MASKED = -1e9


Floats = NDArray[np.float32]


class Sampler:
    """Draws genotypes from a policy's weights.

    Args:
        decisions: the decisions of the space.
        weights: the policy's state, as arrays by name.
    """

    def __init__(self, decisions: Decisions, weights: dict[str, NDArray[Any]]) -> None:
        self.decisions = decisions
        self.label_of, self.weight = weights["label_of"], weights["weight"]
        self.marginal = weights["marginal"].astype(np.float64)
        self.recurrent = np.ascontiguousarray(weights["recurrent.weight_hh_l0"])
        bias = weights["recurrent.bias_ih_l0"] + weights["recurrent.bias_hh_l0"]
        # What an answer adds to the gates, for all answers at once.
        self.inputs: Floats = weights["embedding.weight"] @ weights["recurrent.weight_ih_l0"].T + bias

    def draw(self, rng: np.random.Generator, temperature: float = 1.0) -> tuple[Genotype, float]:
        """Draws a genotype and gives its log-probability at temperature 1.

        Args:
            rng: the source of randomness.
            temperature: the chances are flatter above 1.
        """
        hidden = np.zeros(self.recurrent.shape[1], np.float32)
        memory = np.zeros_like(hidden)
        labels = self.weight.shape[1]
        answers: list[int] = []
        log_prob, code = 0.0, len(self.decisions) * labels
        for i, chance in enumerate(rng.random(len(self.decisions)).tolist()):
            hidden, memory = self._step(code, hidden, memory)
            allowed = options(self.decisions, answers)
            known = self.label_of[i, allowed]
            logits = (self.weight[i] @ hidden + self.marginal[i])[known]
            logits -= logits.max()
            sums = np.cumsum(np.exp(logits / temperature))
            chosen = min(int(np.searchsorted(sums, chance * sums[-1], "right")), len(allowed) - 1)
            whole = sums[-1] if temperature == 1 else np.exp(logits).sum()
            log_prob += float(logits[chosen] - np.log(whole))
            answers.append(allowed[chosen])
            code = i * labels + int(known[chosen])
        return tuple(answers), log_prob

    def _step(self, code: int, hidden: Floats, memory: Floats) -> tuple[Floats, Floats]:
        """Makes a step of the LSTM; the gates are in torch's order: input, forget, cell, output."""
        gates = self.inputs[code] + self.recurrent @ hidden
        size = len(hidden)
        opened = 0.5 * (1 + np.tanh(0.5 * gates))  # The logistic function, without its overflow.
        memory = opened[size : 2 * size] * memory + opened[:size] * np.tanh(gates[2 * size : 3 * size])
        return opened[3 * size :] * np.tanh(memory), memory


class Policy(nn.Module):
    """Distribution over the genotypes of a space.

    Args:
        decisions: the decisions of the space.
        hidden: width of embedding and state.
    """

    def __init__(self, decisions: Decisions, hidden: int = 64) -> None:
        super().__init__()
        self.decisions = decisions
        names = [list(dict.fromkeys(decision.labels)) for decision in decisions]
        self.width = max(len(decision.labels) for decision in decisions)
        label_of = np.zeros((len(decisions), self.width), dtype=np.int64)
        for i, decision in enumerate(decisions):
            label_of[i, : len(decision.labels)] = [names[i].index(label) for label in decision.labels]
        self.register_buffer("label_of", torch.from_numpy(label_of))
        labels = max(map(len, names))
        # One row for every label of every decision, and one for the beginning.
        self.embedding = nn.Embedding(len(decisions) * labels + 1, hidden)
        self.labels = labels
        self.recurrent = nn.LSTM(hidden, hidden, batch_first=True)
        self.weight = nn.Parameter(torch.zeros(len(decisions), labels, hidden))
        self.marginal = nn.Parameter(torch.zeros(len(decisions), labels))
        nn.init.normal_(self.embedding.weight, std=0.1)

    def sampler(self) -> Sampler:
        """Returns a copy of the present policy for drawing genotypes; arrays are quicker one by one."""
        return Sampler(
            self.decisions, {name: value.numpy().copy() for name, value in self.state_dict().items()}
        )

    def forward(self, genotypes: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
        """Returns log-probabilities [N] and mean entropies over the decisions [N].

        Args:
            genotypes: [N, D].
            allowed: [N, D, width], see `allowed_options`.
        """
        count, depth = genotypes.shape
        label_of: Tensor = self.label_of  # type: ignore[assignment]
        labels = label_of.expand(count, -1, -1).gather(2, genotypes[..., None])[..., 0]
        codes = labels + torch.arange(depth) * self.labels
        start = torch.full((count, 1), depth * self.labels)
        inputs = self.embedding(torch.cat([start, codes[:, :-1]], 1))
        states, _ = self.recurrent(inputs)
        preference = torch.einsum("ndh,dlh->ndl", states, self.weight) + self.marginal
        logits = preference.gather(2, label_of.expand(count, -1, -1)).masked_fill(~allowed, MASKED)
        logs = logits.log_softmax(-1)
        entropy = -(logs.exp() * logs.masked_fill(~allowed, 0.0)).sum(-1).mean(-1)
        return logs.gather(2, genotypes[..., None])[..., 0].sum(-1), entropy

    def allowed_options(self, genotype: Genotype) -> NDArray[np.bool_]:
        """Returns [D, width]: which options could be chosen on the way to the genotype."""
        allowed = np.zeros((len(genotype), self.width), np.bool_)
        for i in range(len(genotype)):
            allowed[i, options(self.decisions, genotype[:i])] = True
        return allowed
