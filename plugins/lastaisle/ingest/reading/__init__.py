"""Files of any kind as numbered lines, in bounded memory."""
