"""What experiments found: the table `experiment_results`, and the moves of trials that follow from it."""
