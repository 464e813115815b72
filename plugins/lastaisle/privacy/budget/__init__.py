"""The privacy budget of shoppers: what private trainings spent, of whom, and what is left."""
