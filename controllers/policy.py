"""The policy: a recurrent network that answers a space's decisions one after the other.

The state of an LSTM, fed with the answers so far, gives a preference for every label of the next
decision; options that are not allowed are masked. Options with equal labels share a preference, so that
the untrained policy is the space's own uniform sampling, permutations included.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from search_space import Genotype
from search_space.decisions import Decisions, options

MASKED = -1e9


class Policy(nn.Module):
    """Distribution over the genotypes of a space.

    Args:
        decisions: of the space.
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
        self.cell = nn.LSTMCell(hidden, hidden)
        self.weight = nn.Parameter(torch.zeros(len(decisions), labels, hidden))
        self.marginal = nn.Parameter(torch.zeros(len(decisions), labels))
        nn.init.normal_(self.embedding.weight, std=0.1)

    def sample(self, rng: np.random.Generator) -> tuple[Genotype, float]:
        """A genotype and its log-probability."""
        answers: list[int] = []
        total = 0.0
        with torch.inference_mode():
            state = self._begin(1)
            code = torch.tensor([len(self.decisions) * self.labels])
            for i in range(len(self.decisions)):
                state = self.cell(self.embedding(code), state)
                preference = (self.weight[i] @ state[0][0] + self.marginal[i]).double().numpy()
                allowed = options(self.decisions, answers)
                known = self.label_of[i].numpy()
                logits = preference[known[allowed]]
                logits -= logits.max()
                chances = np.exp(logits)
                sums = np.cumsum(chances)
                chosen = min(int(np.searchsorted(sums, rng.random() * sums[-1], "right")), len(allowed) - 1)
                total += float(logits[chosen] - np.log(sums[-1]))
                answers.append(allowed[chosen])
                code = torch.tensor([i * self.labels + int(known[allowed[chosen]])])
        return tuple(answers), total

    def forward(self, genotypes: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability [N] and mean entropy over the decisions [N].

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
        state, states = self._begin(count), []
        for i in range(depth):
            state = self.cell(inputs[:, i], state)
            states.append(state[0])
        preference = torch.einsum("dnh,dlh->ndl", torch.stack(states), self.weight) + self.marginal
        logits = preference.gather(2, label_of.expand(count, -1, -1)).masked_fill(~allowed, MASKED)
        logs = logits.log_softmax(-1)
        entropy = -(logs.exp() * logs.masked_fill(~allowed, 0.0)).sum(-1).mean(-1)
        return logs.gather(2, genotypes[..., None])[..., 0].sum(-1), entropy

    def allowed_options(self, genotype: Genotype) -> NDArray[np.bool_]:
        """[D, width] the options that could be chosen on the way to the genotype."""
        allowed = np.zeros((len(genotype), self.width), np.bool_)
        for i in range(len(genotype)):
            allowed[i, options(self.decisions, genotype[:i])] = True
        return allowed

    def _begin(self, count: int) -> tuple[Tensor, Tensor]:
        zeros = torch.zeros(count, self.cell.hidden_size)
        return zeros, zeros
