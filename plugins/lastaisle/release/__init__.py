"""From a trained candidate to the version that serves: evaluate, gate, register, promote, roll back."""
