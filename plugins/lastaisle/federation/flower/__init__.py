"""The parts that import Flower; they run only in the environment `federated`."""
