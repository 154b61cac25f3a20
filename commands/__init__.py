"""The six commands, a file each; every one is a sentence: open the streams, call, write."""
