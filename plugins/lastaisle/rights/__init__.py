"""What shoppers may ask of their data: a copy, erasure with proof, restriction, objection."""
