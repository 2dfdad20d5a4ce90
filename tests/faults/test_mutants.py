"""The list of mutants is about the code as it is; `make mutants` tries them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.mutants import MUTANTS, PROJECT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_every_mutant_breaks_a_text_that_stands_in_its_file_once(mutant: Mutant, tmp_path: Path) -> None:
    (tmp_path / mutant.file).parent.mkdir(parents=True)
    (tmp_path / mutant.file).write_text((PROJECT / mutant.file).read_text())
    mutant.apply(tmp_path)
    for test in mutant.tests:
        path, _, name = test.partition("::")
        text = (PROJECT / path).read_text()
        assert not name or f"def {name}(" in text


def test_every_promise_that_faults_can_break_has_a_mutant() -> None:
    assert {mutant.promise for mutant in MUTANTS} == {f"P{number}" for number in range(1, 13)}
