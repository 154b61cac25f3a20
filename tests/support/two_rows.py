"""Two rows as a stream gives them, and as a command writes them."""

GOOD = b'{"text": "a"}\n{"text": "b"}\n'
TWO = [
    {"schema": "vlm2vec/item@1", "text": "a", "id": "1", "dataset": "default", "role": "query"},
    {"schema": "vlm2vec/item@1", "text": "b", "id": "2", "dataset": "default", "role": "query"},
]
