/* Loaded into fsx: what it does not know by itself.
 *
 * FSX_DIRECT=1   its file is read and written with O_DIRECT
 * FSX_ZERO=1     every second hole it punches is a range it zeroes: both read as zeros
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/types.h>

int open64(const char *path, int flags, ...)
{
	int (*next)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");
	mode_t mode = 0;
	if (flags & O_CREAT) {
		va_list rest;
		va_start(rest, flags);
		mode = va_arg(rest, mode_t);
		va_end(rest);
	}
	if (getenv("FSX_DIRECT") && (flags & O_ACCMODE) == O_RDWR)
		flags |= O_DIRECT;
	return next(path, flags, mode);
}

static int allocate(const char *name, int fd, int mode, off_t offset, off_t len)
{
	static int calls;
	int (*next)(int, int, off_t, off_t) = dlsym(RTLD_NEXT, name);
	if (getenv("FSX_ZERO") && mode & FALLOC_FL_PUNCH_HOLE && calls++ % 2)
		mode = (mode & ~FALLOC_FL_PUNCH_HOLE) | FALLOC_FL_ZERO_RANGE;
	return next(fd, mode, offset, len);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
	return allocate("fallocate", fd, mode, offset, len);
}

int fallocate64(int fd, int mode, off_t offset, off_t len)
{
	return allocate("fallocate64", fd, mode, offset, len);
}
