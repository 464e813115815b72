"""Online updates: changes of a champion's embeddings between two trainings."""
