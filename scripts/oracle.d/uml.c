/* Preloaded into linux.uml, the Linux that runs as a process.
 *
 * It does two things.
 *
 * The clock nearly stands still while Linux works, and jumps to the next timer when Linux is idle. So waiting costs nothing,
 * and a busy machine changes no result. This begins as soon as the file named by ORACLE_CLOCK exists; before that, booting
 * measures loops against the true clock.
 *
 * It reads the processor's state into a large buffer: newer processors (AMX) have more state than linux.uml has room for.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { PEEKS_FIRST = 1, PEEKS_LAST = 3, GETREGSET = 0x4204, SETREGSET = 0x4205, XSTATE = 0x202 };

long ptrace(int request, ...)
{
    static char state[1 << 16] __attribute__((aligned(64)));
    va_list args;
    va_start(args, request);
    long pid = (int)va_arg(args, long);
    void *addr = va_arg(args, void *);
    void *data = va_arg(args, void *);
    va_end(args);
    if ((request == GETREGSET || request == SETREGSET) && (long)addr == XSTATE) {
        struct iovec *asked = data, all = { state, sizeof state };
        if (syscall(SYS_ptrace, GETREGSET, pid, addr, &all) < 0)
            return -1;
        size_t n = asked->iov_len < all.iov_len ? asked->iov_len : all.iov_len;
        if (request == SETREGSET) {
            memcpy(state, asked->iov_base, n);
            return syscall(SYS_ptrace, SETREGSET, pid, addr, &all);
        }
        memcpy(asked->iov_base, state, n);
        asked->iov_len = n;
        return 0;
    }
    if (request >= PEEKS_FIRST && request <= PEEKS_LAST) {
        long word;
        if (syscall(SYS_ptrace, request, pid, addr, &word) < 0)
            return -1;
        errno = 0;
        return word;
    }
    return syscall(SYS_ptrace, request, pid, addr, data);
}

/* How much slower time passes while Linux works. It does not stop, because some code spins until the clock moves. */
enum { SLOW = 1000 };
static const long long SECOND = 1000000000;

static int jumping;
static long long jumped_to, jumped_at; /* our time and the true one, in ns, at the last jump */
static long long due;                  /* when Linux wants to be woken; 0 for never */
static timer_t alarm_clock;

static long long nanoseconds(const struct timespec *t) { return t->tv_sec * SECOND + t->tv_nsec; }
static struct timespec timespec_of(long long n) { return (struct timespec){ n / SECOND, n % SECOND }; }

static long long true_time(void)
{
    struct timespec t;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
    return nanoseconds(&t);
}

static long long our_time(void)
{
    return jumping ? jumped_to + (true_time() - jumped_at) / SLOW : true_time();
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
    if (clock != CLOCK_MONOTONIC)
        return syscall(SYS_clock_gettime, clock, t);
    *t = timespec_of(our_time());
    return 0;
}

static int set(timer_t timer, int flags, const struct itimerspec *new, struct itimerspec *old)
{
    static int (*real)(timer_t, int, const struct itimerspec *, struct itimerspec *);
    if (!real)
        real = dlsym(RTLD_NEXT, "timer_settime");
    return real(timer, flags, new, old);
}

int timer_settime(timer_t timer, int flags, const struct itimerspec *new, struct itimerspec *old)
{
    long long after = nanoseconds(&new->it_value);
    alarm_clock = timer;
    due = after ? our_time() + after : 0;
    if (!jumping || !after)
        return set(timer, flags, new, old);
    struct itimerspec slow = { new->it_interval, timespec_of(after * SLOW) };
    return set(timer, flags, &slow, old);
}

/* Linux is idle: nothing will happen before `due`, so the clock jumps to `due`. */
int sigsuspend(const sigset_t *mask)
{
    static int (*real)(const sigset_t *);
    static const char *start;
    if (!real) {
        real = dlsym(RTLD_NEXT, "sigsuspend");
        start = getenv("ORACLE_CLOCK");
    }
    if (!jumping && start && access(start, F_OK) == 0) {
        jumped_to = jumped_at = true_time();
        jumping = 1;
    }
    if (jumping && due) {
        if (due > our_time()) {
            jumped_to = due;
            jumped_at = true_time();
        }
        struct itimerspec now = { { 0, 0 }, { 0, 1 } };
        set(alarm_clock, 0, &now, NULL);
    }
    return real(mask);
}
