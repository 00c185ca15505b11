/*
 * Preloaded into a process (LD_PRELOAD), it tells every step that changes a file below a folder, whoever makes it: Node's
 * own calls and SQLite's alike. TRACE_ROOT is the folder, TRACE_LOG where it is told, in order, with the bytes; what is
 * written to TRACE_MARK is told as a mark, and "fail N ERRNO" written to TRACE_CONTROL lets the N-th step from then on fail.
 *
 * A line a step, "<what> <open> <number> <length> <path>", and `length` bytes behind it. `open` counts opens: a file keeps
 * its number whatever it is called meanwhile.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS 4096
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *root, *mark, *control;
static int out = -1, opens = 0;
static long countdown = 0, sticky = 0;
static int code = 0;
static struct { int open; int special; } fds[FDS];

__attribute__((constructor)) static void start(void) {
  root = getenv("TRACE_ROOT"), mark = getenv("TRACE_MARK"), control = getenv("TRACE_CONTROL");
  const char *path = getenv("TRACE_LOG");
  if (root && path) out = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) real = dlsym(RTLD_NEXT, name)

static int inside(const char *path) {
  size_t length = root ? strlen(root) : 0;
  return out >= 0 && length && !strncmp(path, root, length) && (path[length] == '/' || path[length] == 0);
}

static void all(const void *bytes, size_t length) {
  for (size_t done = 0; done < length;) {
    long count = syscall(SYS_write, out, (const char *)bytes + done, length - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) { perror("trace"); abort(); }
    done += (size_t)count;
  }
}

static void tell(const char *what, int open, long number, const void *bytes, size_t length, const char *path) {
  char line[4608];
  int size = snprintf(line, sizeof line, "%s %d %ld %zu %s\n", what, open, number, length, path);
  all(line, (size_t)size);
  if (length) all(bytes, length);
}

/* Whether this step is the one that is to fail. */
static int fails(void) {
  if (countdown == 0) return 0;
  if (countdown > 1 && countdown--) return 0;
  if (!sticky) countdown = 0;
  errno = code;
  return 1;
}

#define STEP(call, ...) \
  pthread_mutex_lock(&lock); \
  long result = fails() ? -1 : (long)(call); \
  int kept = errno; \
  if (result >= 0) { __VA_ARGS__; } \
  pthread_mutex_unlock(&lock); \
  errno = kept; \
  return result

static int opened(const char *path, int flags, int mode, int (*real)(const char *, int, ...)) {
  if (mark && !strcmp(path, mark)) { int fd = real(path, flags, mode); if (fd >= 0 && fd < FDS) fds[fd].special = 1; return fd; }
  if (control && !strcmp(path, control)) { int fd = real(path, flags, mode); if (fd >= 0 && fd < FDS) fds[fd].special = 2; return fd; }
  if (!inside(path)) return real(path, flags, mode);
  struct stat info;
  int there = stat(path, &info) == 0;
  int changes = ((flags & O_CREAT) && !there) || (flags & O_TRUNC && there);
  pthread_mutex_lock(&lock);
  int fd = changes && fails() ? -1 : real(path, flags, mode);
  int kept = errno;
  if (fd >= 0 && fd < FDS) {
    fds[fd].open = ++opens, fds[fd].special = 0;
    tell(!there ? "create" : flags & O_TRUNC ? "empty" : "open", opens, 0, "", 0, path);
  }
  pthread_mutex_unlock(&lock);
  errno = kept;
  return fd;
}

#define OPEN(name) int name(const char *path, int flags, ...) { \
  va_list rest; va_start(rest, flags); int mode = va_arg(rest, int); va_end(rest); \
  REAL(int, #name, const char *, int, ...); return opened(path, flags, mode, real); }
OPEN(open)
OPEN(open64)

int close(int fd) {
  REAL(int, "close", int);
  if (fd >= 0 && fd < FDS) fds[fd].open = fds[fd].special = 0;
  return real(fd);
}

/* A number that was closed behind our back may be another thing by now: the event loop of a thread must never fail. */
static int followed(int fd) {
  struct stat info;
  return out >= 0 && fd >= 0 && fd < FDS && fds[fd].open > 0 && fstat(fd, &info) == 0 && (S_ISREG(info.st_mode) || S_ISDIR(info.st_mode));
}

static int special(int fd, const void *bytes, size_t length) {
  if (out < 0 || fd < 0 || fd >= FDS || !fds[fd].special) return 0;
  pthread_mutex_lock(&lock);
  if (fds[fd].special == 1) tell("mark", 0, 0, bytes, length, "-");
  else {
    char text[64] = {0};
    memcpy(text, bytes, length < 63 ? length : 63);
    countdown = sticky = 0;
    sscanf(text, "fail %ld %d %ld", &countdown, &code, &sticky);
  }
  pthread_mutex_unlock(&lock);
  return 1;
}

ssize_t write(int fd, const void *bytes, size_t length) {
  REAL(ssize_t, "write", int, const void *, size_t);
  if (special(fd, bytes, length)) return (ssize_t)length;
  if (!followed(fd)) return real(fd, bytes, length);
  long at = lseek(fd, 0, SEEK_CUR);
  STEP(real(fd, bytes, length), tell("write", fds[fd].open, at, bytes, (size_t)result, "-"));
}

#define PWRITE(name, offset_type) ssize_t name(int fd, const void *bytes, size_t length, offset_type at) { \
  REAL(ssize_t, #name, int, const void *, size_t, offset_type); \
  if (special(fd, bytes, length)) return (ssize_t)length; \
  if (!followed(fd)) return real(fd, bytes, length, at); \
  STEP(real(fd, bytes, length, at), tell("write", fds[fd].open, (long)at, bytes, (size_t)result, "-")); }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define TRUNCATE(name, offset_type) int name(int fd, offset_type size) { \
  REAL(int, #name, int, offset_type); \
  if (!followed(fd)) return real(fd, size); \
  STEP(real(fd, size), tell("truncate", fds[fd].open, (long)size, "", 0, "-")); }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define SYNC(name) int name(int fd) { \
  REAL(int, #name, int); \
  if (!followed(fd)) return real(fd); \
  STEP(real(fd), tell("sync", fds[fd].open, 0, "", 0, "-")); }
SYNC(fsync)
SYNC(fdatasync)

int rename(const char *from, const char *to) {
  REAL(int, "rename", const char *, const char *);
  if (!inside(from)) return real(from, to);
  STEP(real(from, to), tell("rename", 0, 0, to, strlen(to), from));
}

#define PATH(name, what, parameters, arguments) int name parameters { \
  static int (*real) parameters; if (!real) real = dlsym(RTLD_NEXT, #name); \
  if (!inside(path)) return real arguments; \
  STEP(real arguments, tell(what, 0, 0, "", 0, path)); }
PATH(unlink, "remove", (const char *path), (path))
PATH(rmdir, "remove", (const char *path), (path))
PATH(mkdir, "folder", (const char *path, mode_t mode), (path, mode))
