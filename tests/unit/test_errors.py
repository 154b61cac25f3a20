"""The tree of errors: its exit codes, how places are added, what is suggested."""

import pytest

from vlm2vec_cli import errors
from vlm2vec_cli.errors import DataError, UserError, nearest

CODES = {
    "GateError": 1,
    "UsageError": 2,
    "DataError": 65,
    "MissingError": 66,
    "UnavailableError": 69,
    "StoppedError": 75,
}


def test_every_error_has_the_exit_code_of_the_contract_and_stands_in_the_drawing() -> None:
    assert {one.__name__: one.exit_code for one in UserError.__subclasses__()} == CODES
    for name, code in CODES.items():
        assert any(name in line and str(code) in line for line in (errors.__doc__ or "").splitlines())


def test_a_place_is_added_once() -> None:
    error = DataError("bad", hint="do")
    placed = error.at("rows.jsonl line 3")
    assert (type(placed), str(error), str(placed), placed.hint) == (
        DataError,
        "bad",
        "rows.jsonl line 3: bad",
        "do",
    )
    assert placed.at("elsewhere") is placed


def test_a_place_keeps_the_cause() -> None:
    cause = KeyError("a")
    with pytest.raises(DataError) as raised:
        raise DataError("bad") from cause
    assert raised.value.at("here").__cause__ is cause


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("embde", "did you mean 'embed'?"),
        ("EMBED", "did you mean 'embed'?"),
        ("xyz", ""),
        ("", ""),
    ],
)
def test_nearest_names(name: str, expected: str) -> None:
    assert nearest(name, ["prepare", "embed", "score"]) == expected


def test_nearest_names_several_in_one_question() -> None:
    assert nearest("hit@2", ["hit@1", "hit@5", "mrr"]) in (
        "did you mean 'hit@5' or 'hit@1'?",
        "did you mean 'hit@1' or 'hit@5'?",
    )
