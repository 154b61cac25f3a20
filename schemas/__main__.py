"""`python -m vlm2vec_cli.schemas` writes the JSON Schema of every kind beside its source."""

from pathlib import Path

from vlm2vec_cli.schemas import KINDS, document


def main() -> None:
    """Writes NAME.schema.json for each kind into the folder of this file."""
    for kind in KINDS:
        (Path(__file__).parent / f"{kind.name}.schema.json").write_text(document(kind), encoding="utf-8")


if __name__ == "__main__":
    main()
