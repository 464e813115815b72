"""The differences of two versions of a contract, for `data_contracts.compatibility`."""
