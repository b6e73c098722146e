"""`nas card`: prints what a trained model is."""

from __future__ import annotations

import argparse

from nas.cli.arguments import Commands
from nas.cli.model_path import find_model


def add_card_command(commands: Commands) -> None:
    """Adds `nas card`."""
    parser = commands.add_parser("card", help="print what a trained model is and how it was trained")
    parser.add_argument("model", metavar="MODEL", help="a model file (.safetensors), or a training's folder")
    parser.set_defaults(run=_card)


def _card(options: argparse.Namespace) -> int:
    path = find_model(options.model)
    from nas.training.model_card import card
    from proxy_tasks.models.model_file import read_model

    model, training = read_model(path)
    print(card(model, training), end="")
    return 0
