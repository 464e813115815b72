"""The shadow: a version that scores a share of the live questions, unseen, in a process of its own."""
