"""TensorFlow, loaded without its notes on the processor: `from models.tensorflow_import import tf`.

TensorFlow 2.21 writes notes to the error stream while its shared libraries load, before
TF_CPP_MIN_LOG_LEVEL counts.
"""

from __future__ import annotations

import logging

from models.error_stream import without_notes

__all__ = ["tf"]

with without_notes():
    import tensorflow as tf

for _name in ("absl", "tensorflow"):  # such as "Assets written to" at each export
    logging.getLogger(_name).setLevel(logging.WARNING)
