"""The models: vocabulary, sequences, one architecture a file, metrics, and what services load."""

import os

# TensorFlow reads this when it is first imported: its notes on the processor are no news in every task's log.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
