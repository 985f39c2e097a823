import pytest

from kidney_lab.data.download.part import Identity, Part


@pytest.fixture
def part(tmp_path):
    return Part(tmp_path / "imaging.nii.gz")


def test_nothing_is_known_of_what_was_not_begun(part):
    assert (part.size, part.identity) == (0, None)


def test_a_note_tells_what_the_bytes_are_of(part):
    part.note(Identity('W/"x"', 10))
    part.path.write_bytes(b"abc")

    assert (part.size, part.identity) == (3, Identity('W/"x"', 10))


@pytest.mark.parametrize("note", ["", "{", "[1]", '{"etag": null}', '{"size": 1, "etag": null, "more": 2}'])
def test_a_note_that_makes_no_sense_is_none(part, note):
    part.path.with_name(f"{part.path.name}.json").write_text(note)

    assert part.identity is None


def test_finishing_and_discarding_leave_no_trace(part, tmp_path):
    for end, left in ((part.discard, []), (part.finish, ["imaging.nii.gz"])):
        part.note(Identity(None, None))
        part.path.write_bytes(b"abc")
        end()
        assert [path.name for path in tmp_path.iterdir()] == left
