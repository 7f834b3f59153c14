/* The benchmark server: S3 and Google Cloud Storage in memory, on one loopback port, fast enough not to be what is measured.
 *
 *     server --port 0 --port-file F [--delay-ms N] [--fail-percent P] [--md5 claimed|always|never] [--tls-cert C --tls-key K]
 *
 * Signatures are not checked: it listens on 127.0.0.1 only. One epoll loop; answers that are held back wait in a heap by the time
 * at which they are due.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <malloc.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "server.h"

struct settings settings;
struct stats stats;

static volatile sig_atomic_t stopping;
static struct conn **heap;
static size_t heap_len, heap_room;
static struct conn *queue_first, **queue_last = &queue_first;
static struct conn *buried;
static int64_t seconds;
static uint64_t random_state = 0x2545f4914f6cdd1dull;

int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t now_seconds(void) { return seconds; }

uint64_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static void swap(size_t a, size_t b) {
    struct conn *conn = heap[a];
    heap[a] = heap[b];
    heap[b] = conn;
}

void hold(struct conn *conn) {
    if (heap_len == heap_room) {
        heap_room = heap_room ? heap_room * 2 : 1024;
        heap = must_realloc(heap, heap_room * sizeof *heap);
    }
    size_t at = heap_len++;
    heap[at] = conn;
    for (; at && heap[at]->due < heap[(at - 1) / 2]->due; at = (at - 1) / 2) swap(at, (at - 1) / 2);
}

static struct conn *take_first(void) {
    struct conn *first = heap[0];
    heap[0] = heap[--heap_len];
    for (size_t at = 0, least;; at = least) {
        least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < heap_len; child++)
            if (heap[child]->due < heap[least]->due) least = child;
        if (least == at) return first;
        swap(at, least);
    }
}

void run_again(struct conn *conn) {
    if (conn->queued || conn->dead) return;
    conn->queued = true;
    conn->next = NULL;
    *queue_last = conn;
    queue_last = &conn->next;
}

/* Freed at the end of the turn: events and the queue may still name it. */
void bury(struct conn *conn) {
    if (conn->queued) return; /* comes by again when its turn comes */
    conn->next = buried;
    buried = conn;
}

static void run_queue(void) {
    struct conn *conn = queue_first;
    queue_first = NULL;
    queue_last = &queue_first;
    while (conn) {
        struct conn *next = conn->next;
        conn->queued = false;
        if (conn->dead) bury(conn);
        else conn_run(conn);
        conn = next;
    }
}

static void run_due(void) {
    if (!heap_len) return;
    for (int64_t now = now_ns(); heap_len && heap[0]->due <= now;) {
        struct conn *conn = take_first();
        conn->state = WRITE;
        conn_run(conn);
    }
}

static void accept_all(int listener, int epoll) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct conn *conn = conn_new(fd, tls_on() ? tls_new(fd) : NULL);
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = conn};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
        conn->readable = false; /* the edge of what is there already comes with the next wait */
    }
}

static void on_event(struct conn *conn, uint32_t events) {
    if (conn->dead) return;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) conn->ended = true;
    if (conn->ended || (events & EPOLLIN) || conn->tls) conn->readable = true;
    conn_run(conn);
}

static struct timespec until_next(void) {
    if (queue_first) return (struct timespec){0};
    int64_t wait = 1000000000;
    if (heap_len) {
        int64_t left = heap[0]->due - now_ns();
        wait = left < 0 ? 0 : left < wait ? left : wait;
    }
    return (struct timespec){.tv_sec = wait / 1000000000, .tv_nsec = wait % 1000000000};
}

static void serve(int listener) {
    static struct epoll_event events[512];
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    while (!stopping) {
        struct timespec wait = until_next();
        int count = epoll_pwait2(epoll, events, sizeof events / sizeof *events, &wait, NULL);
        seconds = time(NULL);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr) on_event(events[i].data.ptr, events[i].events);
            else accept_all(listener, epoll);
        }
        run_due();
        run_queue();
        while (buried) {
            struct conn *conn = buried;
            buried = conn->next;
            conn_free(conn);
        }
    }
}

static int listen_on(int *port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) || listen(fd, 4096) || getsockname(fd, (struct sockaddr *)&address, &len)) {
        perror("bind");
        exit(1);
    }
    *port = ntohs(address.sin_port);
    return fd;
}

/* Whoever waits for the file never sees it half written. */
static void tell_port(const char *path, int port) {
    char unfinished[4096];
    snprintf(unfinished, sizeof unfinished, "%s.unfinished", path);
    FILE *file = fopen(unfinished, "w");
    if (!file || fprintf(file, "%d\n", port) < 0 || fclose(file) || rename(unfinished, path)) {
        perror(path);
        exit(1);
    }
}

static void stop(int number) {
    (void)number;
    stopping = 1;
}

static enum md5_mode md5_mode(const char *name) {
    return !strcmp(name, "always") ? MD5_ALWAYS : !strcmp(name, "never") ? MD5_NEVER : MD5_CLAIMED;
}

int main(int count, char **words) {
    int port = 0;
    const char *port_file = NULL, *certificate = NULL, *key = NULL;
    for (int i = 1; i + 1 < count; i += 2) {
        const char *name = words[i], *value = words[i + 1];
        if (!strcmp(name, "--port")) port = atoi(value);
        else if (!strcmp(name, "--port-file")) port_file = value;
        else if (!strcmp(name, "--delay-ms")) settings.delay_ms = atof(value);
        else if (!strcmp(name, "--fail-percent")) settings.fail_percent = atof(value);
        else if (!strcmp(name, "--md5")) settings.md5 = md5_mode(value);
        else if (!strcmp(name, "--tls-cert")) certificate = value;
        else if (!strcmp(name, "--tls-key")) key = value;
        else return fprintf(stderr, "unknown option %s\n", name), 2;
    }
    if (certificate && !tls_setup(certificate, key)) return fprintf(stderr, "no TLS: built without OpenSSL, or a bad certificate\n"), 2;
    /* Memory stays with the process once it has it: fresh pages cost more than everything else about a large body. */
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, -1);
    mallopt(M_TOP_PAD, 64 << 20);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    crc32c_setup();
    seconds = time(NULL);
    int listener = listen_on(&port);
    if (port_file) tell_port(port_file, port);
    printf("%s://127.0.0.1:%d\n", tls_on() ? "https" : "http", port);
    fflush(stdout);
    serve(listener);
    return 0;
}
