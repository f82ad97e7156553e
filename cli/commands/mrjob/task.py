"""Gets a working directory ready, then becomes the command of a task.

Run as `python task.py [--archive FILE DIRECTORY]... [--raw] -- COMMAND...`: unpacks
archives; with `--raw` the command's last two arguments are a path and the name of
the file that it is a copy of: mrjob promises the extension of that name, and that
compressed files are unpacked.
"""
import os
import shutil
import sys
import tarfile
import zipfile

MAGIC = {".gz": b"\x1f\x8b", ".bz2": b"BZh"}


def main(words):
    raw = False
    while words and words[0] != "--":
        word = words.pop(0)
        if word == "--archive":
            unpack(words.pop(0), words.pop(0))
        else:
            raw = word == "--raw"
    command = words[1:]
    if raw:
        command[-2] = unpacked(*command[-2:])
    os.execvp(command[0], command)


def unpack(archive, directory):
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(directory)
    else:
        with tarfile.open(archive) as packed:
            if hasattr(tarfile, "data_filter"):
                packed.extractall(directory, filter="data")
            else:
                packed.extractall(directory)
    for folder, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                os.chmod(path, os.stat(path).st_mode | 0o500)


def unpacked(path, source):
    """The path of the same file by its extension, not compressed."""
    base = os.path.basename(source)
    extension = base[base.index("."):] if "." in base else ""
    for suffix, magic in MAGIC.items():
        if not extension.endswith(suffix):
            continue
        extension = extension[:-len(suffix)]
        with open(path, "rb") as packed:
            if packed.read(len(magic)) == magic:
                return decompressed(suffix, path, "./input" + extension)
    if path.endswith(extension):
        return path
    os.rename(path, "./input" + extension)
    return "./input" + extension


def decompressed(suffix, path, target):
    if suffix == ".gz":
        import gzip as module
    else:
        import bz2 as module
    with module.open(path, "rb") as packed, open(target, "wb") as out:
        shutil.copyfileobj(packed, out)
    return target


if __name__ == "__main__":
    main(sys.argv[1:])
