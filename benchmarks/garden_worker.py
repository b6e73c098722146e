"""Times the Model Garden's SpineNet for `backbone.py`; runs in an environment with TensorFlow."""

import json
import os
import resource
import sys
import time
from functools import cache

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import tensorflow as tf
import tf_keras
from official.vision.modeling.backbones import spinenet


@cache
def prepared(width, alpha, endpoints, size, batch, mode, precision):
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16" if precision == "bf16" else "float32")
    net = spinenet.SpineNet(
        input_specs=tf_keras.layers.InputSpec(shape=[batch, size, size, 3]),
        filter_size_scale=width,
        resample_alpha=alpha,
        endpoints_num_filters=endpoints,
    )
    images = tf.random.normal([batch, size, size, 3])
    optimizer = tf_keras.optimizers.legacy.SGD(0.01, momentum=0.9)

    @tf.function
    def forward():
        return tf.add_n(
            [tf.reduce_mean(tf.cast(x, tf.float32)) for x in net(images, training=False).values()]
        )

    @tf.function
    def train():
        with tf.GradientTape() as tape:
            loss = tf.add_n(
                [tf.reduce_mean(tf.cast(x, tf.float32)) for x in net(images, training=True).values()]
            )
        gradients = tape.gradient(loss, net.trainable_variables)
        pairs = zip(gradients, net.trainable_variables, strict=True)
        optimizer.apply_gradients([(g, v) for g, v in pairs if g is not None])
        return loss

    return train if mode == "train" else forward


def main():
    threads = int(sys.argv[1])
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    for line in sys.stdin:
        request = json.loads(line)
        if request["mode"] == "memory":
            answer = {"mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
        else:
            keys = ("width", "alpha", "endpoints", "size", "batch", "mode", "precision")
            step = prepared(*(request[key] for key in keys))
            step().numpy()
            started = time.perf_counter()
            for _ in range(request["steps"]):
                step().numpy()
            answer = {"ms": (time.perf_counter() - started) / request["steps"] * 1e3}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
