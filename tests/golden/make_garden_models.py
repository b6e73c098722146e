"""Makes garden_models.npz: whole models of the TensorFlow Model Garden, written by its own checkpoint code.

Run once, in the environment of make_garden.py:

    garden/bin/python tests/golden/make_garden_models.py [FOLDER]

The file holds, for each model, what its checkpoint calls every variable, with its shape, and the model's
outputs for images that names give. The values follow from the variables' names (weights.py), so that none are
stored. With FOLDER the checkpoints themselves are kept there.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import numpy as np
import tensorflow as tf
import tf_keras
import weights
from official.vision.configs import backbones, common, decoders, image_classification, retinanet
from official.vision.modeling import factory
from official.vision.modeling.backbones import spinenet, spinenet_mobile
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

SIZE = 128
SMALL = {"endpoints_num_filters": 8, "filter_size_scale": 0.125, "resample_alpha": 0.5}


def main() -> None:
    results = {}
    spinenet.SCALING_MAP["small"] = {**SMALL, "block_repeats": 1}
    spinenet.SCALING_MAP["deep"] = {**SMALL, "block_repeats": 2}
    spinenet_mobile.SCALING_MAP["small"] = {
        "endpoints_num_filters": 8,
        "filter_size_scale": 1.0,
        "block_repeats": 1,
    }
    spec = tf_keras.layers.InputSpec(shape=[None, SIZE, SIZE, 3])
    models = {
        "retinanet": factory.build_retinanet(spec, retinanet_config(spine("small"))),
        "retinanet-deep": factory.build_retinanet(spec, retinanet_config(spine("deep"))),
        "retinanet-mobile": factory.build_retinanet(spec, retinanet_config(mobile("small"), separable=True)),
        "classifier": factory.build_classification_model(
            spec,
            image_classification.ImageClassificationModel(
                num_classes=7, backbone=spine("small"), norm_activation=norms()
            ),
        ),
    }
    images = np.transpose(weights.images(2, SIZE), (0, 2, 3, 1))
    for name, net in models.items():
        if name == "classifier":
            net(tf.constant(images), training=False)
        else:
            net.call(tf.constant(images), training=True)  # Detections are not wanted, only the variables.
        with TemporaryDirectory() as folder:
            prefix = str(Path(sys.argv[1]) / name) if len(sys.argv) > 1 else f"{folder}/model"
            variables = fill(net)
            written = tf.train.Checkpoint(model=net).write(prefix)
            paths = paths_of(written)
        rows = [(path, full, "x".join(map(str, variables[full].shape))) for path, full in paths]
        results[f"{name}/variables"] = np.array(rows)
        if name == "classifier":
            results[f"{name}/logits"] = net(tf.constant(images), training=False).numpy()
        else:
            boxes, scores = raw_outputs(net, images)
            results[f"{name}/boxes"], results[f"{name}/scores"] = boxes, scores
        print(name, len(rows))
    if len(sys.argv) < 2:
        np.savez_compressed(Path(__file__).with_name("garden_models.npz"), **results)


def norms():
    return common.NormActivation(
        activation="swish", norm_momentum=0.99, norm_epsilon=0.001, use_sync_bn=False
    )


def spine(model_id):
    return backbones.Backbone(
        type="spinenet",
        spinenet=backbones.SpineNet(
            model_id=model_id, stochastic_depth_drop_rate=0.0, min_level=3, max_level=7
        ),
    )


def mobile(model_id):
    return backbones.Backbone(
        type="spinenet_mobile",
        spinenet_mobile=backbones.SpineNetMobile(
            model_id=model_id, stochastic_depth_drop_rate=0.0, min_level=3, max_level=7
        ),
    )


def retinanet_config(backbone, separable=False):
    return retinanet.RetinaNet(
        num_classes=5,
        input_size=[SIZE, SIZE, 3],
        min_level=3,
        max_level=7,
        backbone=backbone,
        decoder=decoders.Decoder(type="identity"),
        head=retinanet.RetinaNetHead(num_convs=2, num_filters=8, use_separable_conv=separable),
        anchor=retinanet.Anchor(num_scales=3, aspect_ratios=[0.5, 1.0, 2.0], anchor_size=3),
        norm_activation=norms(),
    )


def fill(net):
    """Gives every variable numbers that its name gives, and returns them by name."""
    values = {}
    for variable in net.variables:
        name = variable.name.split(":")[0]
        values[name] = weights.variable(name, tuple(variable.shape))
        variable.assign(values[name])
    return values


def paths_of(prefix):
    reader = tf.train.load_checkpoint(prefix)
    graph = TrackableObjectGraph()
    graph.ParseFromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
    found = [(a.checkpoint_key, a.full_name) for node in graph.nodes for a in node.attributes if a.full_name]
    return sorted((key.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE"), name) for key, name in set(found))


def raw_outputs(net, images):
    """Box numbers and class logits of all levels, as [N, H, W, anchors * values] flattened in our order."""
    features = net.backbone(tf.constant(images), training=False)
    scores, boxes, _ = net.head(features, training=False)
    flat = lambda maps, values: np.concatenate(  # noqa: E731
        [maps[level].numpy().reshape(len(images), -1, values) for level in sorted(maps, key=int)], 1
    )
    return flat(boxes, 4), flat(scores, 5)


if __name__ == "__main__":
    main()
