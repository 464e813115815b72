"""The models: vocabulary, sequences, one architecture a file, metrics, and what services load."""

import os

# TensorFlow reads these when it is first imported. Its notes on the processor are no news in each task's log.
# And Keras, with scikit-learn and pyplot, is half of its import, yet no model here uses it: told that
# `tf.keras` is the older package, it looks for that one when somebody asks for it, and for none before.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
