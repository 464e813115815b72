"""Erase shoppers everywhere, and prove it by a search of every byte."""
