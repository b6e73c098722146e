"""Random specs of every shape that the format allows, and other spellings of a given spec."""

from __future__ import annotations

import numpy as np

from search_space import Block, SpineNetSpec, StemBlock


def random_spec(
    rng: np.random.Generator, max_blocks: int = 12, levels: tuple[int, int] = (1, 7), mobile: bool = False
) -> SpineNetSpec:
    """Any stem, levels, kinds and parents; dead blocks and outputs anywhere."""
    kinds = ["mbconv"] if mobile else ["bottleneck", "residual"]
    stem_levels = [int(rng.integers(1, 3))]
    for _ in range(rng.integers(1, 4)):
        stem_levels.append(stem_levels[-1] + int(rng.random() < 0.4))
    stem = tuple(StemBlock(level, str(rng.choice(kinds))) for level in stem_levels)
    free_outputs = set(range(levels[0], levels[1] + 1))
    blocks: list[Block] = []
    count = int(rng.integers(1, max_blocks + 1))
    for i in range(count):
        a, b = (int(x) for x in rng.choice(len(stem) + i, size=2, replace=False))
        level = int(rng.integers(levels[0], levels[1] + 1))
        last_chance = i == count - 1 and not any(block.output for block in blocks)
        output = level in free_outputs and bool(last_chance or rng.random() < 0.35)
        if output:
            free_outputs.discard(level)
        blocks.append(Block(level, str(rng.choice(kinds)), (a, b), output))
    return SpineNetSpec(stem, tuple(blocks))


def respelled(spec: SpineNetSpec, rng: np.random.Generator) -> SpineNetSpec:
    """The same blocks in another order that builds parents first, with parents swapped at random.

    This is often the same network, but not always: the order decides which unused blocks are added to
    an output.
    """
    first = len(spec.stem)
    new_index = {i: i for i in range(first)}
    waiting = list(range(first, first + len(spec.blocks)))
    blocks: list[Block] = []
    while waiting:
        ready = [i for i in waiting if all(p in new_index for p in spec.blocks[i - first].parents)]
        chosen = int(rng.choice(ready))
        waiting.remove(chosen)
        block = spec.blocks[chosen - first]
        a, b = (new_index[p] for p in block.parents)
        blocks.append(Block(block.level, block.kind, (b, a) if rng.random() < 0.5 else (a, b), block.output))
        new_index[chosen] = first + len(blocks) - 1
    return SpineNetSpec(spec.stem, tuple(blocks))


def with_dead_block(spec: SpineNetSpec, rng: np.random.Generator) -> SpineNetSpec:
    """The spec with a block at the end that nothing uses."""
    a, b = (int(x) for x in rng.choice(len(spec.features), size=2, replace=False))
    return SpineNetSpec(spec.stem, (*spec.blocks, Block(1, spec.stem[0].kind, (a, b))))
