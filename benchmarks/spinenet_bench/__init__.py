"""A table of scale-permuted detectors: RetinaNets on specs of SpineNet-49's space, trained for real.

    uv run python -m benchmarks.spinenet_bench                # goes on where the rows end, on all cores
    uv run python -m benchmarks.spinenet_bench --status       # what is there, what is left, and how long

Ctrl-C or a kill costs at most the steps since the last checkpoint.

| file | question |
| --- | --- |
| recipe.py | how is each network trained and measured? |
| plan.py | which networks, in which order? |
| task.py | one training, measured at several lengths |
| table.py | what is known already? |
| work.py | what is trained next, and by whom? |
| publish.py, card.py | what is shipped, and how is it described? |
| facts.py, measures.py, pictures.py | what does the table say? |
| held_out.py, learning_curve.py | what does a surrogate say of trainings that it does not know? |
| winners.py | and of what real searches found? |
| long_trainings.py | what do trainings of four times the length say? |
| seeds.py | what does the seed of a training do? |
| neighbors.py | how far do specs differ that are a few edits apart? |
"""
