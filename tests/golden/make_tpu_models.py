"""Makes tpu_models.npz: whole models of the TPU repository (tensorflow/tpu, models/official/detection).

Run once, in an environment with tensorflow-cpu 2.21, tf_keras 2.21, six and absl-py, with that folder's path:

    tpu/bin/python tests/golden/make_tpu_models.py DETECTION [FOLDER]

The file holds, for each model, the names and shapes of the variables in its checkpoint, and the model's
outputs for images that names give. The values follow from the variables' names (weights.py), so that none are
stored. With FOLDER the checkpoints themselves are kept there.
"""

import functools
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow.compat.v1 as tf
import weights

sys.path.insert(0, sys.argv[1])

from modeling.architecture import heads, nn_ops, spinenet, spinenet_mbconv

SIZE = 128


def main() -> None:
    tf.disable_v2_behavior()
    results = {}
    for name in ("backbone", "retinanet", "retinanet-deep", "retinanet-mobile", "classifier"):
        tf.reset_default_graph()
        images = tf.placeholder(tf.float32, [2, SIZE, SIZE, 3])
        outputs = build(name, images)
        values = {v.name.split(":")[0]: v for v in tf.global_variables()}
        with tf.Session() as session, TemporaryDirectory() as folder:
            for variable, at in values.items():
                at.load(weights.variable(variable, tuple(at.shape.as_list())), session)
            feed = {images: np.transpose(weights.images(2, SIZE), (0, 2, 3, 1))}
            for what, found in session.run(outputs, feed).items():
                results[f"{name}/{what}"] = found
            prefix = str(Path(sys.argv[2]) / f"tpu-{name}") if len(sys.argv) > 2 else f"{folder}/model"
            tf.train.Saver().save(session, prefix, write_meta_graph=False)
            shapes = dict(tf.train.list_variables(prefix))
        rows = [(path, "x".join(map(str, shape))) for path, shape in sorted(shapes.items())]
        results[f"{name}/variables"] = np.array(rows)
        print(name, len(rows))
    if len(sys.argv) < 3:
        np.savez_compressed(Path(__file__).with_name("tpu_models.npz"), **results)


def build(name, images):
    norms = nn_ops.BatchNormActivation(momentum=0.99, epsilon=1e-3, activation="swish")
    if name.endswith("mobile"):
        backbone = spinenet_mbconv.SpineNetMBConv(
            endpoints_num_filters=8, filter_size_scale=1.0, batch_norm_activation=norms
        )
    else:
        backbone = spinenet.SpineNet(
            endpoints_num_filters=8,
            filter_size_scale=0.125,
            resample_alpha=0.5,
            block_repeats=2 if name.endswith("deep") else 1,
            batch_norm_activation=norms,
        )
    features = backbone(images, is_training=False)
    if name == "backbone":
        return {f"P{level}": features[level] for level in (3, 7)}
    if name == "classifier":
        head = heads.ClassificationHead(7, aggregation="all", batch_norm_activation=norms)
        return {"logits": head(features, is_training=False)}
    head = heads.RetinanetHead(
        3,
        7,
        num_classes=5,
        anchors_per_location=9,
        num_convs=2,
        num_filters=8,
        use_separable_conv=name.endswith("mobile"),
        activation="swish",
        batch_norm_activation=norms,
    )
    scores, boxes = head(features, is_training=False)
    return {"scores": flat(scores, 5), "boxes": flat(boxes, 4)}


def flat(maps, values):
    """[N, H, W, anchors * values] of all levels in our order."""
    parts = [tf.reshape(maps[level], [2, -1, values]) for level in sorted(maps)]
    return functools.reduce(lambda a, b: tf.concat([a, b], 1), parts)


if __name__ == "__main__":
    main()
