"""Faults at chosen writes: a library that is loaded before all others and counts what a process writes below a folder.

An event is a file that is created, a write, a change of length, a new folder, a change of name or a sync, of
whatever library: Python, HDF5, safetensors.  At the chosen event the process gets ENOSPC or a signal.
"""

import mmap
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ACTIONS", "Control", "built"]

ACTIONS = {"none": 0, "full once": 1, "full": 2, "kill": 9, "interrupt": 102, "terminate": 115}
"""What happens at the chosen event: an error once, an error from then on, SIGKILL, or 100 and a signal's number."""

LAYOUT = struct.Struct("<qqq4000s")

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct control { int64_t count, at, action; char root[4000]; };
static struct control *shared;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("FAULT_CONTROL");
    int (*plain)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int file = name ? plain(name, O_RDWR) : -1;
    if (file < 0) return;
    void *found = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (found != MAP_FAILED) shared = found;
}

static int below(const char *path) {
    size_t length = strlen(shared->root);
    return length && !strncmp(path, shared->root, length);
}

/* Whether this event is to fail. */
static int event(void) {
    int64_t now = __atomic_add_fetch(&shared->count, 1, __ATOMIC_SEQ_CST);
    if (!shared->at || now < shared->at) return 0;
    if (shared->action == 2) return 1;
    if (now != shared->at) return 0;
    if (shared->action == 1) return 1;
    if (shared->action == 9) kill(getpid(), SIGKILL);
    if (shared->action > 100) kill(getpid(), (int)shared->action - 100);
    return 0;
}

static int hits_path(int at, const char *path) {
    char whole[4300];
    if (!shared || !shared->root[0] || !path) return 0;
    if (path[0] == '/') return below(path) && event();
    if (at == AT_FDCWD) {
        if (!getcwd(whole, sizeof whole)) return 0;
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        ssize_t size = readlink(link, whole, sizeof whole - 1);
        if (size < 0) return 0;
        whole[size] = 0;
    }
    return below(whole) && event();
}

static int hits_file(int file) {
    char link[64], whole[4300];
    if (!shared || !shared->root[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, whole, sizeof whole - 1);
    if (size < 0) return 0;
    whole[size] = 0;
    return below(whole) && event();
}

#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) real = dlsym(RTLD_NEXT, #name)
#define FULL return (errno = ENOSPC, -1)

#define OPEN(name) \
int name(const char *path, int flags, ...) { \
    REAL(int, name, const char *, int, ...); \
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
    if ((flags & O_CREAT) && hits_path(AT_FDCWD, path)) FULL; \
    return real(path, flags, mode); \
}
OPEN(open) OPEN(open64)
#define OPENAT(name) \
int name(int at, const char *path, int flags, ...) { \
    REAL(int, name, int, const char *, int, ...); \
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
    if ((flags & O_CREAT) && hits_path(at, path)) FULL; \
    return real(at, path, flags, mode); \
}
OPENAT(openat) OPENAT(openat64)
ssize_t write(int file, const void *data, size_t size) {
    REAL(ssize_t, write, int, const void *, size_t);
    if (hits_file(file)) FULL;
    return real(file, data, size);
}
ssize_t writev(int file, const struct iovec *data, int count) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    if (hits_file(file)) FULL;
    return real(file, data, count);
}
#define PWRITE(name) \
ssize_t name(int file, const void *data, size_t size, off_t at) { \
    REAL(ssize_t, name, int, const void *, size_t, off_t); \
    if (hits_file(file)) FULL; \
    return real(file, data, size, at); \
}
PWRITE(pwrite) PWRITE(pwrite64)
#define LENGTH(name) \
int name(int file, off_t size) { \
    REAL(int, name, int, off_t); \
    if (hits_file(file)) FULL; \
    return real(file, size); \
}
LENGTH(ftruncate) LENGTH(ftruncate64)
#define ALLOCATE(name) \
int name(int file, off_t at, off_t size) { \
    REAL(int, name, int, off_t, off_t); \
    if (hits_file(file)) return ENOSPC; \
    return real(file, at, size); \
}
ALLOCATE(posix_fallocate) ALLOCATE(posix_fallocate64)
int mkdir(const char *path, mode_t mode) {
    REAL(int, mkdir, const char *, mode_t);
    if (hits_path(AT_FDCWD, path)) FULL;
    return real(path, mode);
}
int rename(const char *one, const char *other) {
    REAL(int, rename, const char *, const char *);
    if (hits_path(AT_FDCWD, other)) FULL;
    return real(one, other);
}
int renameat(int a, const char *one, int b, const char *other) {
    REAL(int, renameat, int, const char *, int, const char *);
    if (hits_path(b, other)) FULL;
    return real(a, one, b, other);
}
int renameat2(int a, const char *one, int b, const char *other, unsigned flags) {
    REAL(int, renameat2, int, const char *, int, const char *, unsigned);
    if (hits_path(b, other)) FULL;
    return real(a, one, b, other, flags);
}
int fsync(int file) {
    REAL(int, fsync, int);
    if (hits_file(file)) FULL;
    return real(file);
}
"""


def built(folder: Path) -> Path:
    """Compile the library into a folder."""
    source, library = folder / "shim.c", folder / "shim.so"
    source.write_text(SOURCE)
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    return library


@dataclass
class Control:
    """What the library does, in memory that all processes share.

    Parameters
    ----------
    file : Path
        Whose name the variable ``FAULT_CONTROL`` says to the library.
    """

    file: Path

    def __post_init__(self) -> None:
        if not self.file.exists():
            self.file.write_bytes(bytes(LAYOUT.size))
        with self.file.open("r+b") as file:
            self.memory = mmap.mmap(file.fileno(), LAYOUT.size)

    def arm(self, root: Path, action: str = "none", at: int = 0) -> None:
        """Count events below a folder from now on, and do something at one of them."""
        self.memory[:] = LAYOUT.pack(0, at, ACTIONS[action], str(root).encode())

    def disarm(self) -> int:
        """Let all be written; how many events there were."""
        (count,) = struct.unpack_from("<q", self.memory)
        self.memory[:] = bytes(LAYOUT.size)
        return int(count)
