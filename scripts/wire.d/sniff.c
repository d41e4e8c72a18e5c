/* Preloaded into ipvsadm and keepalived: records their requests to Linux IPVS and its answers.
 *
 * Lines go to the file that WIRE_LOG names. Bytes are hexadecimal; no bytes are `-`.
 *
 *   > BYTES                        a datagram to the kernel, over generic netlink
 *   < BYTES                        a datagram from the kernel
 *   set OPTION BYTES RESULT        setsockopt; RESULT is 0 or the errno
 *   get OPTION BYTES RESULT BYTES  getsockopt: the caller's buffer before, and afterwards
 *
 * With WIRE_SOCKOPT in the environment, generic netlink fails, so ipvsadm uses socket options.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SOCKETS = 1024, OPTION_FIRST = 1152, OPTION_LAST = 1167, MOST = 1 << 16 };
#define REAL(f)                       \
    static __typeof__(f) *real;       \
    if (!real)                        \
    real = dlsym(RTLD_NEXT, #f)

static char generic[SOCKETS];

static int is_generic(int fd) { return fd >= 0 && fd < SOCKETS && generic[fd]; }

static char *hex(char *to, const unsigned char *from, size_t length)
{
    if (length == 0)
        return stpcpy(to, "-");
    for (size_t i = 0; i < length; i++)
        to += sprintf(to, "%02x", from[i]);
    return to;
}

static void put(const char *line)
{
    const char *path = getenv("WIRE_LOG");
    int kept = errno, fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;
    if (fd >= 0 && write(fd, line, strlen(line)) < 0)
        abort();
    if (fd >= 0)
        close(fd);
    errno = kept;
}

static void put_message(const char *mark, const struct msghdr *m, size_t length)
{
    static char line[2 * MOST + 16];
    char *at = stpcpy(line, mark);
    for (size_t i = 0; i < m->msg_iovlen && length > 0; i++) {
        size_t part = m->msg_iov[i].iov_len < length ? m->msg_iov[i].iov_len : length;
        at = hex(at, m->msg_iov[i].iov_base, part);
        length -= part;
    }
    strcpy(at, "\n");
    put(line);
}

int socket(int domain, int type, int protocol)
{
    REAL(socket);
    if (domain == AF_NETLINK && protocol == NETLINK_GENERIC && getenv("WIRE_SOCKOPT")) {
        errno = EPROTONOSUPPORT;
        return -1;
    }
    int fd = real(domain, type, protocol);
    if (fd >= 0 && fd < SOCKETS)
        generic[fd] = domain == AF_NETLINK && protocol == NETLINK_GENERIC;
    return fd;
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    REAL(sendmsg);
    ssize_t sent = real(fd, m, flags);
    if (sent > 0 && is_generic(fd))
        put_message("> ", m, sent);
    return sent;
}

ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
    REAL(recvmsg);
    ssize_t got = real(fd, m, flags);
    if (got > 0 && is_generic(fd) && !(flags & MSG_PEEK))
        put_message("< ", m, got);
    return got;
}

static int is_ours(int level, int option)
{
    return level == 0 && option >= OPTION_FIRST && option <= OPTION_LAST;
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
    REAL(setsockopt);
    int done = real(fd, level, option, value, length);
    if (is_ours(level, option)) {
        static char line[2 * MOST + 64];
        char *at = line + sprintf(line, "set %d ", option);
        at = hex(at, value, length);
        sprintf(at, " %d\n", done ? errno : 0);
        put(line);
    }
    return done;
}

int getsockopt(int fd, int level, int option, void *value, socklen_t *length)
{
    REAL(getsockopt);
    static char line[4 * MOST + 64];
    char *at = line;
    if (is_ours(level, option)) {
        at += sprintf(line, "get %d ", option);
        at = hex(at, value, *length);
    }
    int done = real(fd, level, option, value, length);
    if (is_ours(level, option)) {
        at += sprintf(at, " %d ", done ? errno : 0);
        at = hex(at, value, *length);
        strcpy(at, "\n");
        put(line);
    }
    return done;
}
