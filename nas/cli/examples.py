"""What the help of every command says beyond its arguments: what it does, and examples that the tests try."""

from __future__ import annotations

from dataclasses import dataclass

from nas.cli.arguments import CommandParser, show_examples


@dataclass(frozen=True)
class Help:
    """The words around a command's arguments.

    Args:
        text: what it does, in whole sentences; "" where the command says it itself.
        examples: commands that can be typed.
    """

    text: str
    examples: tuple[str, ...]


HELP: dict[str, Help] = {
    "nas": Help("", ("nas search", "nas search task.data.root=DIR trials=64", "nas search --help")),
    "nas resume": Help(
        "Continues a search or a training that was interrupted, or gives a search more trials. No finished "
        "trial is lost. A search keeps its space, controller, scheduler, objective, seed and fidelity.",
        ("nas resume runs/DATE", "nas resume runs/DATE trials=200"),
    ),
    "nas status": Help(
        "Shows how far a search or a training is, what runs now, and the best result so far.",
        ("nas status", "nas status runs/DATE --json", "nas status runs/DATE --metrics 9464"),
    ),
    "nas report": Help(
        "Writes report.html into the run folder: curves, the winner, costs and failures in one page. Several "
        "folders are compared on one page.",
        ("nas report runs/DATE",),
    ),
    "nas logs": Help(
        "Shows what happened to one trial and what it printed. Without TRIAL, it lists the failed trials and "
        "prints the log of the search.",
        ("nas logs", "nas logs runs/DATE 17"),
    ),
    "nas trials": Help(
        "Writes every trial of a search as a row of a table, or as a trial of an Optuna study.",
        ("nas trials runs/DATE trials.csv", "nas trials runs/DATE study.db"),
    ),
    "nas tasks": Help(
        "Lists the installed tasks, which give specs their scores: the values of task=.", ("nas tasks",)
    ),
    "nas controllers": Help(
        "Lists the installed controllers, which propose specs: the values of controller=.",
        ("nas controllers",),
    ),
    "nas spaces": Help("", ("nas spaces",)),
    "nas spec": Help("", ("nas spec show spinenet-49",)),
    "nas spec show": Help(
        "Prints the blocks of an architecture as a table, or as the text of a spec file.",
        ("nas spec show spinenet-49", "nas spec show runs/DATE/winners/best.json --json"),
    ),
    "nas spec check": Help(
        "Checks architectures, and prints their keys, their dead blocks and the spaces that hold them.",
        ("nas spec check mine.json",),
    ),
    "nas spec draw": Help(
        "Draws an architecture as in the paper.", ("nas spec draw spinenet-49 -o net.png",)
    ),
    "nas spec cost": Help(
        "Computes parameters, multiply-adds and activation memory of an architecture, without torch.",
        ("nas spec cost spinenet-49 --size 640 --head retinanet --classes 91",),
    ),
    "nas data": Help("", ("nas data check DIR",)),
    "nas data shapes": Help(
        "Generates a small data set of shapes, to try things without a download.",
        ("nas data shapes DIR --train 100 --val 20",),
    ),
    "nas data check": Help(
        "Lists all faults of a data set. The status is 1 if anything must be skipped.",
        ("nas data check DIR", "nas data check DIR --split val --json"),
    ),
    "nas data import": Help(
        "Converts what a labeling tool has written into a data set with train and val. DIR is not changed.",
        ("nas data import DIR --out SET",),
    ),
    "nas data prepare": Help(
        "Decodes and resizes the images once, for all workers of this machine.",
        ("nas data prepare DIR --size 512 --cache CACHE",),
    ),
    "nas eval": Help(
        "Measures a trained model on a data set: AP, AP50 and the other numbers of COCO.",
        ("nas eval trainings/DATE/best.safetensors --root DIR",),
    ),
    "nas predict": Help(
        "Finds objects in images. Each image gets a drawing and a JSON file.",
        ("nas predict trainings/DATE/best.safetensors IMAGE --out found",),
    ),
    "nas export": Help(
        "Writes a model for other programs, as ONNX or for torch.export, or a spec for TensorFlow's code.",
        (
            "nas export trainings/DATE/best.safetensors --to model.onnx",
            "nas export spinenet-49 --format tuples --to spec.py",
        ),
    ),
    "nas import-weights": Help(
        "Turns a checkpoint of TensorFlow's Model Garden or TPU repository into a model file.",
        ("nas import-weights ckpt-1 --head retinanet --to official.safetensors",),
    ),
    "nas card": Help(
        "Prints what a trained model is and how it was trained.",
        ("nas card trainings/DATE/best.safetensors",),
    ),
    "nas completion": Help("", ('eval "$(nas completion bash)"',)),
}


def add_examples(parser: CommandParser) -> None:
    """Gives a command and all commands below it their texts."""
    found = HELP.get(parser.prog)
    if found is not None:
        parser.description = parser.description or found.text
        ends = [show_examples(*found.examples), parser.epilog]
        parser.epilog = "\n\n".join(end for end in ends if end)
    if parser.commands is not None:
        for below in parser.commands.choices.values():
            add_examples(below)
