"""What the contract classifies becomes what the events may hold: pseudonyms, coarser times and places."""
