"""The demo on one machine: the main job on a real scheduler, day by day."""
