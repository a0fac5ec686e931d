"""Directories of a DNG by bytes written by hand: a chain, and sub-directories of each."""

import struct

import pytest

from noiseflow.raw.formats.dng_stamp import SUB_DIRECTORIES, _directories


def file_of(order: str, places: dict[str, int], pointers: tuple[int, ...]) -> bytes:
    """IFD0 with two entries, the second of which has sub-directories; then IFD1 with one entry; then nothing."""
    content = bytearray(400)

    def directory(at: int, entries: list[tuple[int, int, int, int]], following: int) -> None:
        struct.pack_into(f"{order}H", content, at, len(entries))
        for row, entry in enumerate(entries):
            struct.pack_into(f"{order}HHII", content, at + 2 + 12 * row, *entry)
        struct.pack_into(f"{order}I", content, at + 2 + 12 * len(entries), following)

    struct.pack_into(f"{order}I", content, 4, places["first"])
    list_at = 360
    for number, pointer in enumerate(pointers):
        struct.pack_into(f"{order}I", content, list_at + 4 * number, pointer)
    held = pointers[0] if len(pointers) == 1 else list_at
    directory(places["first"], [(256, 4, 1, 7), (SUB_DIRECTORIES, 4, len(pointers), held)], places["second"])
    directory(places["second"], [(257, 3, 1, 9)], 0)
    for pointer in pointers:
        directory(pointer, [(254, 4, 1, 0), (256, 4, 1, 3), (257, 4, 1, 2)], 0)
    return bytes(content)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("pointers", [(200,), (200, 260)])
def test_each_directory_of_the_chain_and_below_is_found_once_with_its_entries(
    order: str, pointers: tuple[int, ...]
) -> None:
    content = file_of(order, {"first": 8, "second": 100}, pointers)
    found = {each.at: each for each in _directories(content, order)}
    assert sorted(found) == [8, 100, *pointers]
    assert [entry[:3] for entry in found[8].entries] == [(256, 4, 1), (SUB_DIRECTORIES, 4, len(pointers))]
    assert [entry[3] for entry in found[8].entries] == [18, 30]
    assert [entry[:3] for entry in found[100].entries] == [(257, 3, 1)]
    # Where each is pointed to from: the header, the end of the one before, the entry or the list of pointers.
    assert found[8].pointer == 4
    assert found[100].pointer == 8 + 2 + 24
    assert [found[at].pointer for at in pointers] == ([30] if len(pointers) == 1 else [360, 364])
    assert [entry[0] for entry in found[pointers[-1]].entries] == [254, 256, 257]


def test_a_chain_that_comes_back_to_itself_ends() -> None:
    content = bytearray(file_of("<", {"first": 8, "second": 100}, (200,)))
    struct.pack_into("<I", content, 100 + 2 + 12, 8)
    assert sorted(each.at for each in _directories(bytes(content), "<")) == [8, 100, 200]
