"""The pages: one module a page, each with its route and the values that its template shows."""
