#!/usr/bin/env bash
# ART's DeepFool steps by a wrong length where it looks at some of the classes only.
#
# Seen with adversarial-robustness-toolbox 1.20.1. `DeepFool(nb_grads=n)` keeps to the n likeliest
# classes where the model has more (the default is 10). It then takes the place of the predicted
# class among these as if it were the class's number, and subtracts another class's logit. In a
# linear model a border is one step away, of a length that is known. Here class 4 is predicted and
# class 3 the second likeliest, whose border is 6.0 away; the step towards it is 29.0 long. With all
# classes, the step to the nearest border has the right length.
#
# Gamekeeper's own DeepFool (replay/theft/craft/deepfool.py) looks at all borders, as the paper does.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check \
  adversarial-robustness-toolbox==1.20.1 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 \
  packaging==26.3
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from art.attacks.evasion import DeepFool
from art.estimators import BaseEstimator
from art.estimators.classification import ClassGradientsMixin, ClassifierMixin

SLOPES = np.array([[0, 1], [0, -1], [-1, 0], [0.9, 0], [1, 0]], np.float32)
OFFSETS = np.array([0.8, -2, -2, 0, 0.5], np.float32)


class Linear(ClassGradientsMixin, ClassifierMixin, BaseEstimator):
    """Five logits of two inputs; ART is told their values and their gradients."""

    input_shape, nb_classes = (2,), 5

    def __init__(self):
        super().__init__(model=None, clip_values=None)

    def predict(self, x, **_):
        return x @ SLOPES.T + OFFSETS

    def class_gradient(self, x, label=None, **_):
        chosen = SLOPES if label is None else SLOPES[[label]]
        return np.repeat(chosen[None], len(x), axis=0)

    def loss_gradient(self, x, y, **_):
        raise NotImplementedError

    def fit(self, x, y, **_):
        raise NotImplementedError


x = np.array([[1, 0]], np.float32)
logits = Linear().predict(x)[0]
assert logits.argmax() == 4
away = [(logits[4] - logits[k]) / np.linalg.norm(SLOPES[4] - SLOPES[k]) for k in range(4)]
lengths = {}
for classes in (5, 2):
    attack = DeepFool(Linear(), max_iter=1, epsilon=0, nb_grads=classes, verbose=False)
    lengths[classes] = float(np.linalg.norm(attack.generate(x) - x))
print(f"nearest border: {min(away):.3f} away, step with all classes: {lengths[5]:.3f}")
print(f"second class's border: {away[3]:.3f} away, step with two classes: {lengths[2]:.3f}")
assert abs(lengths[5] - min(away)) < 1e-4, "with all classes the step was right"
assert abs(lengths[2] - 29.0) < 0.01, "the behaviour has changed"
PYTHON
