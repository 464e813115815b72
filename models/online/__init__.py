"""Online updates: changes to a champion's embeddings between two trainings."""
