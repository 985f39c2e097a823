import pytest

from kidney_lab.wording import counted, listed


@pytest.mark.parametrize(("n", "words"), [(0, "0 files"), (1, "1 file"), (2, "2 files"), (21, "21 files")])
def test_one_is_singular(n, words):
    assert counted(n, "file") == words


@pytest.mark.parametrize(("words", "text"), [(["a"], "a"), (["a", "b"], "a or b"), (["a", "b", "c"], "a, b or c")])
def test_words_are_listed(words, text):
    assert listed(words, "or") == text
