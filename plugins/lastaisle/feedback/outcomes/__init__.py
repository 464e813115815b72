"""What followed from each exposure: the tables `outcomes` and `unattributed`."""
