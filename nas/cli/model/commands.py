"""What one does with a model file: `nas eval`, `predict`, `export`, `import-weights` and `card`."""

from __future__ import annotations

from nas.cli.arguments import Commands
from nas.cli.model.card import add_card_command
from nas.cli.model.evaluate import add_eval_command
from nas.cli.model.export import add_export_command
from nas.cli.model.import_weights import add_import_weights_command
from nas.cli.model.predict import add_predict_command


def add_model_commands(commands: Commands) -> None:
    """Adds the commands to the parser's."""
    add_eval_command(commands)
    add_predict_command(commands)
    add_export_command(commands)
    add_import_weights_command(commands)
    add_card_command(commands)
