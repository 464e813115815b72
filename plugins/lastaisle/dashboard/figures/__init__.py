"""The figures of the pages, computed once for all visitors: one module a page, or a kind of figures."""
