# Changes files in every way the recorder must follow; the first argument names the directory.
import ctypes
import os
import sys
import threading

root = sys.argv[1]
os.makedirs(root + "/a/b")
fd = os.open(root + "/a/.new", os.O_RDWR | os.O_CREAT, 0o600)
os.write(fd, b"hello")
os.pwrite(fd, b"world" * 100, 4090)
os.lseek(fd, 2, os.SEEK_SET)
os.write(fd, b"!!")
os.fsync(fd)
os.rename(root + "/a/.new", root + "/a/b/file")
directory = os.open(root + "/a/b", os.O_RDONLY)
os.fsync(directory)
os.symlink("file", root + "/a/b/symlink")
os.link(root + "/a/b/file", root + "/a/hardlink")
os.mkdir("removed", dir_fd=directory)
os.rmdir("removed", dir_fd=directory)

unnamed = os.open(root + "/a", os.O_TMPFILE | os.O_RDWR)
os.writev(unnamed, [b"one, ", b'"two"'])
copy = os.dup(unnamed)
os.write(copy, b" three")
AT_FDCWD, AT_SYMLINK_FOLLOW = -100, 0x400
source = b"/proc/self/fd/%d" % unnamed
if ctypes.CDLL(None).linkat(AT_FDCWD, source, directory, b"named", AT_SYMLINK_FOLLOW) != 0:
    sys.exit("linkat failed")


def append(number):
    fd = os.open("%s/t%d" % (root, number), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for line in range(50):
        os.write(fd, b"line %d\n" % line)
        os.fdatasync(fd)
    os.ftruncate(fd, 100 + number)
    os.close(fd)


threads = [threading.Thread(target=append, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
os.unlink(root + "/t3")
with open(root + "/t2", "w") as file:
    file.write("begun anew")
os.posix_fallocate(os.open(root + "/t1", os.O_RDWR), 0, 5000)
os.write(1, b"done\n")
