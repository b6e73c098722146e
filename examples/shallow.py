"""Your own task: the reward is what you say it is. Here: short ways from the image to every output."""

from search_space import SpineNetSpec


class Shallow:
    def evaluate(self, spec: SpineNetSpec) -> float:
        depth = [1] * len(spec.stem)
        for block in spec.blocks:
            depth.append(1 + max(depth[parent] for parent in block.parents))
        return -float(max(depth))
