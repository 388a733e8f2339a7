/* An Ethernet switch in a process, for machines whose kernel cannot delay packets (no netem): each of its ports is a
 * TAP device tap1, tap2, ... and a full-duplex link with a rate and a delay.
 *
 *   delay_switch PORTS RATE DELAY       such as 4 1gbit 0.1ms; a RATE of 0: no limit
 *
 * A frame takes its port's way in, one after the other, for bytes / RATE; the way out of the port that it goes to, in
 * the same way; and DELAY. Large segments stay whole, as between network cards with offloading, so that a link of
 * 1 Gbit/s costs some thousand frames a second. A link whose backlog is longer than 20 ms (40 ms on the way out) drops
 * frames, as a switch with a full buffer does. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_PORTS = 64,
    MAX_FRAME = 70000,
    HEADER = 10,   /* of virtio, before each frame */
    ETHERNET = 14, /* addresses and type */
    OVERHEAD = 24, /* preamble, check sum, gap between frames */
    READ_AT_ONCE = 16,
    MAX_BACKLOG = 20000000 /* ns */
};

/* A frame on its way. */
typedef struct frame {
    int64_t due; /* ns, when it leaves the switch */
    uint64_t number;
    int port;
    ssize_t bytes;
    unsigned char *data;
} frame;

typedef struct port {
    int file;
    unsigned char address[6];  /* of the host behind it, once it has sent */
    int64_t in_free, out_free; /* ns, when its link is free again */
} port;

/* Frames are a binary heap, the earliest first. */
typedef struct delay_switch {
    port ports[MAX_PORTS];
    struct pollfd polled[MAX_PORTS];
    int port_count;
    double rate;   /* bit/s, 0: no limit */
    int64_t delay; /* ns */
    frame *heap;
    size_t count, room;
    uint64_t numbers;
} delay_switch;

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static bool before(const frame *a, const frame *b)
{
    return a->due < b->due || (a->due == b->due && a->number < b->number);
}

static void swap(frame *a, frame *b)
{
    const frame kept = *a;

    *a = *b;
    *b = kept;
}

static bool push(delay_switch *s, frame one)
{
    if (s->count == s->room) {
        const size_t room = s->room > 0 ? 2 * s->room : 1024;
        frame *heap = realloc(s->heap, room * sizeof *heap);

        if (heap == NULL)
            return false;
        s->heap = heap;
        s->room = room;
    }
    s->heap[s->count] = one;
    for (size_t i = s->count++; i > 0 && before(&s->heap[i], &s->heap[(i - 1) / 2]); i = (i - 1) / 2)
        swap(&s->heap[i], &s->heap[(i - 1) / 2]);
    return true;
}

static frame pop(delay_switch *s)
{
    const frame first = s->heap[0];

    s->heap[0] = s->heap[--s->count];
    for (size_t i = 0, child = 1; child < s->count; i = child, child = 2 * i + 1) {
        if (child + 1 < s->count && before(&s->heap[child + 1], &s->heap[child]))
            child++;
        if (!before(&s->heap[child], &s->heap[i]))
            break;
        swap(&s->heap[i], &s->heap[child]);
    }
    return first;
}

static bool open_port(delay_switch *s, int n)
{
    struct ifreq request;

    memset(&request, 0, sizeof request);
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    snprintf(request.ifr_name, IFNAMSIZ, "tap%d", n + 1);
    s->ports[n].file = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    s->polled[n] = (struct pollfd){.fd = s->ports[n].file, .events = POLLIN};
    return s->ports[n].file >= 0 && ioctl(s->ports[n].file, TUNSETIFF, &request) == 0 &&
           ioctl(s->ports[n].file, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) == 0;
}

static void send_due(delay_switch *s)
{
    const int64_t time = now();

    while (s->count > 0 && s->heap[0].due <= time) {
        const frame one = pop(s);

        /* A host that is gone, or full, loses the frame. */
        if (write(s->ports[one.port].file, one.data, (size_t)one.bytes) < 0)
            errno = 0;
        free(one.data);
    }
}

/* The port behind which the address is, or -1: all. */
static int port_of(const delay_switch *s, const unsigned char *address)
{
    if ((address[0] & 1) != 0)
        return -1;
    for (int n = 0; n < s->port_count; n++)
        if (memcmp(s->ports[n].address, address, 6) == 0)
            return n;
    return -1;
}

static bool forward(delay_switch *s, int from, const unsigned char *data, ssize_t bytes)
{
    const int64_t time = now();
    const int64_t busy = s->rate > 0 ? (int64_t)((double)(bytes - HEADER + OVERHEAD) * 8e9 / s->rate) : 0;
    const int64_t start = time > s->ports[from].in_free ? time : s->ports[from].in_free;
    const int to = port_of(s, data + HEADER);

    if (start - time > MAX_BACKLOG)
        return true;
    s->ports[from].in_free = start + busy;
    for (int n = 0; n < s->port_count; n++) {
        const int64_t out = start > s->ports[n].out_free ? start : s->ports[n].out_free;
        unsigned char *copy;

        if (n == from || (to >= 0 && n != to) || out - time > 2 * MAX_BACKLOG)
            continue;
        s->ports[n].out_free = out + busy;
        copy = malloc((size_t)bytes);
        if (copy == NULL)
            return false;
        memcpy(copy, data, (size_t)bytes);
        if (!push(s, (frame){out + busy + s->delay, s->numbers++, n, bytes, copy})) {
            free(copy);
            return false;
        }
    }
    return true;
}

static bool receive(delay_switch *s, int from)
{
    static unsigned char data[MAX_FRAME];

    for (int n = 0; n < READ_AT_ONCE; n++) {
        const ssize_t bytes = read(s->ports[from].file, data, sizeof data);

        if (bytes < HEADER + ETHERNET)
            break;
        memcpy(s->ports[from].address, data + HEADER + 6, 6);
        if (!forward(s, from, data, bytes))
            return false;
    }
    return true;
}

/* Until something fails, or a signal ends the process. */
static void run(delay_switch *s)
{
    for (;;) {
        struct timespec wait = {0};

        if (s->count > 0) {
            const int64_t left = s->heap[0].due - now();

            wait = (struct timespec){left > 0 ? left / 1000000000 : 0, left > 0 ? left % 1000000000 : 0};
        }
        if (ppoll(s->polled, (nfds_t)s->port_count, s->count > 0 ? &wait : NULL, NULL) < 0 && errno != EINTR)
            return;
        send_due(s);
        for (int n = 0; n < s->port_count; n++)
            if ((s->polled[n].revents & POLLIN) != 0 && !receive(s, n))
                return;
    }
}

/* A number with a unit: gbit, mbit, kbit; s, ms, us. */
static double scaled(const char *text)
{
    static const struct {
        const char *unit;
        double factor;
    } units[] = {{"", 1}, {"gbit", 1e9}, {"mbit", 1e6}, {"kbit", 1e3}, {"s", 1}, {"ms", 1e-3}, {"us", 1e-6}};
    char *unit;
    const double number = strtod(text, &unit);

    for (size_t n = 0; n < sizeof units / sizeof *units; n++)
        if (unit != text && strcmp(unit, units[n].unit) == 0)
            return number * units[n].factor;
    return -1;
}

int main(int count, char **arguments)
{
    static delay_switch s;

    s.port_count = count == 4 ? atoi(arguments[1]) : 0;
    s.rate = count == 4 ? scaled(arguments[2]) : -1;
    s.delay = count == 4 ? (int64_t)(1e9 * scaled(arguments[3])) : -1;
    if (s.port_count < 1 || s.port_count > MAX_PORTS || s.rate < 0 || s.delay < 0) {
        fprintf(stderr, "usage: delay_switch PORTS RATE DELAY, such as 4 1gbit 0.1ms; at most %d ports\n", MAX_PORTS);
        return 2;
    }
    for (int n = 0; n < s.port_count; n++)
        if (!open_port(&s, n)) {
            perror("delay_switch: tap");
            return 1;
        }
    prctl(PR_SET_TIMERSLACK, 1UL);
    /* Before the processes that compute, or the delay would be that of the scheduler. */
    if (sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 10}) != 0)
        perror("delay_switch: no real-time priority");
    run(&s);
    return 1;
}
