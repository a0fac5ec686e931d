"""Check datasets of noiseflow's own HDF5 files before any byte is read."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import h5py

__all__ = ["own_dataset"]

STRING_BYTES = 16
"""Size in bytes of a string's entry in a dataset, without its characters."""


def own_dataset(file: "h5py.File", name: str, *, written: bool = True) -> "h5py.Dataset":
    """Get a dataset after checking that its bytes are in the file itself, contiguous and without filters.

    Noiseflow writes all datasets like this.  A link could lead to another file, and a virtual, external,
    compressed or unwritten dataset can claim any size.

    Parameters
    ----------
    file : h5py.File
        The open file.
    name : str
        Name of the dataset at the top of the file.
    written : bool
        Whether its values must have been written; otherwise HDF5 returns any number of zeros.

    Raises
    ------
    ValueError
        If the dataset is missing or fails a check.
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
        raise ValueError(f"{name!r} has {dataset.size:,} values that were never written; expected their bytes")
    return dataset
