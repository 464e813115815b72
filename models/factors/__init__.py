"""Models that factorize: matrix factorization and NCF."""
