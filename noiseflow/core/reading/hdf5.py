"""Datasets of our own HDF5 files: refused before a byte is read where one is not what we write."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import h5py

__all__ = ["own_dataset"]

STRING_BYTES = 16
"""Size of a string's entry in a dataset, without its characters."""


def own_dataset(file: "h5py.File", name: str, *, written: bool = True) -> "h5py.Dataset":
    """A dataset whose bytes are all in the file itself, contiguous and without filters, as every writer of ours does.

    A link could lead to another file; a virtual, external, packed or never written dataset can claim any size.

    Parameters
    ----------
    file : h5py.File
        The open file.
    name : str
        Name of the dataset at the top of the file.
    written : bool
        Whether its values must have been written; without them HDF5 reads zeros of any number.

    Raises
    ------
    ValueError
        It is missing, or any of these.
    """
    import h5py

    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name!r} is a link or missing; expected a dataset in the file itself")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"{name!r} is a {type(dataset).__name__}; expected a dataset")
    creation = dataset.id.get_create_plist()
    if creation.get_layout() != h5py.h5d.CONTIGUOUS or creation.get_nfilters() or creation.get_external_count():
        raise ValueError(f"{name!r} is chunked, filtered, virtual or external; expected a contiguous dataset")
    entry = STRING_BYTES if dataset.dtype.kind == "O" else dataset.dtype.itemsize
    stored, room = dataset.id.get_storage_size(), int(file.id.get_filesize())
    if stored and (stored != dataset.size * entry or stored > room):
        raise ValueError(f"{name!r} has {stored:,} bytes of {dataset.size:,} values in a file of {room:,}")
    if written and dataset.size and not stored:
        raise ValueError(f"{name!r} is of {dataset.size:,} values that were never written; expected their bytes")
    return dataset
