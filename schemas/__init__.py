"""The kinds of rows that flow between the commands, a file each; `base` holds what they share."""
