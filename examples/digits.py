"""A space and a task that know nothing of detection: networks for scikit-learn's digits.

nas search space._target_=digits.networks task._target_=digits.Digits trials=20
"""

from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier

from proxy_tasks.task import Score
from search_space.choices import ChoiceSpace


def networks() -> ChoiceSpace:
    widths = ["0", "4", "8", "16", "32"]
    return ChoiceSpace(
        {
            "layer 1": widths[1:],
            "layer 2": widths,
            "layer 3": widths,
            "activation": ["tanh", "relu", "logistic"],
        }
    )


class Digits:
    def evaluate(self, spec, fidelity, seed):
        *widths, activation = spec
        layers = [int(width) for width in widths if width != "0"]
        net = MLPClassifier(
            layers, activation=activation, max_iter=max(1, round(20 * fidelity)), random_state=seed
        )
        images, labels = load_digits(return_X_y=True)
        accuracy = cross_val_score(net, images / 16, labels, cv=3).mean()
        return Score(accuracy, {"neurons": sum(layers)})
