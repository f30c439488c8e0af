"""Files that are no contract at all: each with one sentence and a line."""

from pathlib import Path

import pytest

from mlops_assets.contract.yamlnodes import Mistakes, read_document
from mlops_assets.errors import ContractError


def told(file: Path) -> list[str]:
    mistakes = Mistakes()
    read_document(file, mistakes)
    with pytest.raises(ContractError) as caught:
        mistakes.raise_any()
    return [sentence.removeprefix(f"{file}:") for sentence in caught.value.sentences]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "1: The file is empty; it should describe a dataset."),
        (b"# nothing\n", "1: The file is empty; it should describe a dataset."),
        (b"- a\n- b\n", "1: The file should hold 'name: value' lines."),
        (b"a: 1\nb: [1\nc: 2\n", "3: This is not YAML: did not find expected ',' or ']'."),
        (b"a: 1\n\tb: 2\n", "2: This is not YAML: found a tab character that violates indentation."),
        (b"a: 1\nb: \xff\n", "2: The file is not UTF-8 text; save it as UTF-8."),
        (b"a: 1\nb: \x07\n", "2: This is not YAML: control characters are not allowed."),
        (b"a: 1\n---\nb: 2\n", "2: This is not YAML: but found another document."),
        (b"a: 1\nb: 2\na: 3\n", "3: The key 'a' stands here twice, first on line 1."),
        (b"a:\n  b: 1\n  b: 1\n", "3: The key 'b' stands here twice, first on line 2."),
        (b"a: &x [1]\nb: *x\n", "1: Anchors and aliases (&, *) are not read in a contract; write the value out."),
        (
            b"a: !!python/object/apply:os.system [ls]\n",
            "1: The tag 'tag:yaml.org,2002:python/object/apply:os.system' is not read in a contract; write plain YAML.",
        ),
        (b"a: !secret x\n", "1: The tag '!secret' is not read in a contract; write plain YAML."),
        (b"? [a, b]\n: 1\n", "1: A key should be one word, not a list or a mapping."),
        (b"a: " + b"[" * 30 + b"]" * 30, "1: Nothing in a contract is nested more than 20 deep."),
        (b"a: " + b"x" * 1_000_000, "1: The file has 1,000,003 bytes; a contract has at most 1,000,000."),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, data: bytes, sentence: str) -> None:
    file = tmp_path / "dataset.yaml"
    file.write_bytes(data)
    assert told(file) == [sentence]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert told(tmp_path) == ["1: The file cannot be read: Is a directory."]


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "dataset.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_document(file, Mistakes()) is not None
