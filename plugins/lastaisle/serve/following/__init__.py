"""Which version answers: the alias of a registry that is followed, with a cache, or one folder."""
