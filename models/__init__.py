"""The models: data, architectures, metrics, and the artifact that services load."""

import os

# TensorFlow reads both variables when it is first imported. The first one hides TensorFlow's notes on the
# processor, which would stand in the log of every task.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Half of TensorFlow's import time is Keras, scikit-learn and pyplot, which no model here uses. With this
# variable TensorFlow expects the older Keras package, and loads it only when code reads `tf.keras`.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
