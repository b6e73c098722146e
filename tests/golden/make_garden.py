"""Makes garden.npz: outputs of the TensorFlow Model Garden's SpineNets for weights that names give.

Run once, in an environment of its own:

    python -m venv garden && garden/bin/pip install tf-models-official tensorflow-cpu
    garden/bin/python tests/golden/make_garden.py
"""

import os
import re
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import numpy as np
import tensorflow as tf
import tf_keras
import weights
from official.vision.modeling.backbones import spinenet, spinenet_mobile

ENDPOINTS = 8
SPECS = {
    "r0-sp53": [
        (2, "bottleneck", (0, 1), False),
        (3, "bottleneck", (0, 1), False),
        (3, "bottleneck", (2, 3), False),
        (4, "bottleneck", (2, 4), False),
        (4, "bottleneck", (3, 5), False),
        (3, "bottleneck", (5, 6), False),
        (5, "bottleneck", (4, 7), False),
        (4, "bottleneck", (4, 8), False),
        (4, "bottleneck", (8, 9), False),
        (4, "bottleneck", (8, 10), False),
        (3, "bottleneck", (4, 10), True),
        (4, "bottleneck", (6, 7), True),
        (5, "bottleneck", (8, 13), True),
        (7, "bottleneck", (6, 9), True),
        (6, "bottleneck", (7, 9), True),
    ],
    # Blocks chosen for what they do: a residual output, a dead block (7) that makes its parent 4 count as
    # used, and a feature (5) that is joined to one output and a parent of a later one.
    "mixed": [
        (4, "bottleneck", (0, 1), False),
        (3, "residual", (0, 2), False),
        (4, "bottleneck", (0, 2), False),
        (4, "bottleneck", (2, 3), False),
        (5, "residual", (2, 3), False),
        (5, "residual", (2, 4), False),
        (3, "residual", (3, 2), True),
        (4, "bottleneck", (2, 6), True),
        (5, "bottleneck", (4, 9), True),
        (7, "residual", (5, 10), True),
        (6, "bottleneck", (10, 11), True),
    ],
}
# Keras leaves out what no output needs: the dead block, and the Garden's own output at level 2.
NOT_BUILT = {"mixed": {7}, "spinenet-49": {17}}


def main() -> None:
    results = {}
    for name, size, activation in (
        ("spinenet-49", 128, "relu"),
        ("spinenet-49", 192, "relu"),
        ("spinenet-49", 256, "swish"),
        ("r0-sp53", 128, "relu"),
        ("mixed", 256, "relu"),
    ):
        net = garden(name, size, activation)
        record(results, f"{name}/{size}/{activation}/eval", net, size, batch=1, training=False)
    net = garden("spinenet-49", 256, "relu")
    record(results, "spinenet-49/256/relu/train", net, 256, batch=8, training=True)
    for layer_name, layer in named_layers(net, "spinenet-49"):
        if hasattr(layer, "moving_variance"):
            results[f"spinenet-49/256/relu/train/{layer_name}/variance"] = layer.moving_variance.numpy()
    for size in (128, 256):
        net = garden_mobile(size)
        record(results, f"mobile-spinenet-49/{size}/swish/eval", net, size, batch=1, training=False)
    pooled = tf.transpose(tf.constant(weights.normal("pool", 2, 4, 37, 40)), (0, 2, 3, 1))
    for kernel, stride in ((3, 2), (5, 4), (5, 8)):
        out = tf.nn.max_pool2d(pooled, kernel, stride, "SAME")
        results[f"pool/{kernel}/{stride}"] = np.transpose(out.numpy(), (0, 3, 1, 2))
    np.savez_compressed(Path(__file__).with_name("garden.npz"), **results)


def garden(name, size, activation):
    specs = [spinenet.BlockSpec(*spec) for spec in SPECS[name]] if name in SPECS else None
    net = spinenet.SpineNet(
        input_specs=tf_keras.layers.InputSpec(shape=[None, size, size, 3]),
        block_specs=specs,
        endpoints_num_filters=ENDPOINTS,
        resample_alpha=0.5,
        filter_size_scale=0.25,
        activation=activation,
    )
    for layer_name, layer in named_layers(net, name):
        set_weights(layer_name, layer)
    return net


def garden_mobile(size):
    net = spinenet_mobile.SpineNetMobile(
        input_specs=tf_keras.layers.InputSpec(shape=[None, size, size, 3]),
        endpoints_num_filters=ENDPOINTS,
        filter_size_scale=1.0,
        activation="swish",
    )
    for layer_name, layer in named_mobile_layers(net):
        set_weights(layer_name, layer)
    return net


def record(results, key, net, size, batch, training):
    inputs = np.transpose(weights.images(batch, size), (0, 2, 3, 1))
    for level, out in net(inputs, training=training).items():
        results[f"{key}/P{level}"] = np.transpose(out.numpy(), (0, 3, 1, 2))
        print(key, level, out.shape, float(tf.reduce_mean(tf.abs(out))))


def named_layers(net, name):
    """Every convolution and batch norm with the name that it has in our backbone."""
    plain, norms = in_order(net, "conv2d"), in_order(net, "batch_normalization")
    groups = {kind: in_order(net, f"{kind}_block") for kind in ("bottleneck", "residual")}

    def conv_norm(at):
        yield at, next(plain)
        yield at, next(norms)

    yield from conv_norm("stem.conv")
    for i in range(2):
        yield from named_block(next(groups["bottleneck"]), f"stem.blocks.{i}.0")
    specs = [spinenet.BlockSpec(*s) for s in SPECS[name]] if name in SPECS else spinenet.build_block_specs()
    features = [(2, "bottleneck")] * 2
    for index, spec in enumerate(specs, start=2):
        features.append((spec.level, spec.block_fn))
        if index in NOT_BUILT.get(name, ()):
            continue
        for slot, parent in enumerate(spec.input_offsets):
            at = f"blocks.{index}.resample.{slot}"
            yield from conv_norm(f"{at}.down.0")
            if features[parent][0] < spec.level:
                yield from conv_norm(f"{at}.down.1")
            yield from conv_norm(f"{at}.expand")
        yield from named_block(next(groups[spec.block_fn]), f"blocks.{index}.body.0")
    for level in range(3, 8):
        yield from conv_norm(f"endpoints.P{level}")


def named_block(block, at):
    if getattr(block, "_use_projection", False):
        yield f"{at}.shortcut", block._shortcut
        yield f"{at}.shortcut", block._norm0
    for i in range(3 if hasattr(block, "_conv3") else 2):
        yield f"{at}.convs.{i}", getattr(block, f"_conv{i + 1}")
        yield f"{at}.convs.{i}", getattr(block, f"_norm{i + 1}")


def named_mobile_layers(net):
    plain, norms = in_order(net, "conv2d"), in_order(net, "batch_normalization")
    depthwise, blocks = in_order(net, "depthwise_conv2d"), in_order(net, "inverted_bottleneck_block")
    yield "stem.conv", next(plain)
    yield "stem.conv", next(norms)
    for i in range(2):
        yield from named_mbconv(next(blocks), f"stem.blocks.{i}.0")
    levels = [1, 2]
    for index, spec in enumerate(spinenet_mobile.build_block_specs(), start=2):
        for slot, parent in enumerate(spec.input_offsets):
            at = f"blocks.{index}.resample.{slot}"
            for step in range(spec.level - levels[parent]):
                yield f"{at}.down.{step}", next(depthwise)
                yield f"{at}.down.{step}", next(norms)
            yield f"{at}.expand", next(plain)
            yield f"{at}.expand", next(norms)
        yield from named_mbconv(next(blocks), f"blocks.{index}.body.0")
        levels.append(spec.level)
    for level in range(3, 8):
        yield f"endpoints.P{level}", next(plain)
        yield f"endpoints.P{level}", next(norms)


def named_mbconv(block, at):
    yield f"{at}.expand.0", block._conv0
    yield f"{at}.expand.0", block._norm0
    yield f"{at}.expand.1", block._conv1
    yield f"{at}.expand.1", block._norm1
    yield f"{at}.gate.1", block._squeeze_excitation._se_reduce
    yield f"{at}.gate.3", block._squeeze_excitation._se_expand
    yield f"{at}.project", block._conv2
    yield f"{at}.project", block._norm2


def in_order(net, prefix):
    """Layers of one kind in the order of their creation, which their names number."""
    found = [layer for layer in net.layers if re.fullmatch(rf"{prefix}(_\d+)?", layer.name)]
    return iter(sorted(found, key=lambda layer: int(layer.name[len(prefix) + 1 :] or 0)))


def set_weights(name, layer):
    if hasattr(layer, "moving_mean"):
        values = weights.norm(name, layer.gamma.shape[0])
        layer.gamma.assign(values["gamma"])
        layer.beta.assign(values["beta"])
        layer.moving_mean.assign(values["mean"])
        layer.moving_variance.assign(values["variance"])
        return
    depthwise = hasattr(layer, "depthwise_kernel")
    kernel = layer.depthwise_kernel if depthwise else layer.kernel
    height, width, channels_in, channels_out = kernel.shape
    if depthwise:
        kernel.assign(
            np.transpose(weights.conv(name, channels_in, channels_out, height, width), (2, 3, 0, 1))
        )
    else:
        kernel.assign(
            np.transpose(weights.conv(name, channels_out, channels_in, height, width), (2, 3, 1, 0))
        )
    if layer.use_bias:
        layer.bias.assign(0.1 * weights.normal(f"{name}.bias", channels_out))


if __name__ == "__main__":
    main()
