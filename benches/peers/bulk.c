/* A load generator for large bodies: each of CONNECTIONS keeps one request open
 * at a time, and bodies are dropped in the kernel (MSG_TRUNC), so that the
 * client costs little and the server is what is measured.
 *
 *   bulk HOST:PORT TARGETS CONNECTIONS SECONDS COUNT
 *
 * TARGETS is a file with a request target on each line, asked for in turn, again
 * and again. It ends after SECONDS, or after COUNT answers (0: no count), and
 * prints one JSON object: answers, errors, seconds, p50_ms, p99_ms.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_BYTES = 4096, MAX_SAMPLES = 1 << 22, MAX_CONNECTIONS = 4096, EVENTS = 256 };

struct connection {
    int fd;
    /* Bytes of the body that are still to come; -1 while the head is. */
    long long left;
    double asked;
};

static const char *authority;
static char **targets;
static size_t target_count, next_target;
static long long asked, answers, errors, limit;
static double *samples;
static size_t sample_count;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void fail(const char *what) {
    fprintf(stderr, "bulk: %s: %s\n", what, errno ? strerror(errno) : "unexpected");
    exit(1);
}

static void read_targets(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) fail(path);
    char *line = NULL;
    size_t size = 0, room = 0;
    for (ssize_t length; (length = getline(&line, &size, file)) > 0;) {
        if (target_count == room) targets = realloc(targets, (room = room ? room * 2 : 1024) * sizeof *targets);
        line[strcspn(line, "\n")] = 0;
        targets[target_count++] = strdup(line);
    }
    free(line);
    fclose(file);
    if (!target_count) fail("no targets");
}

static void ask(struct connection *c) {
    if (limit && asked >= limit) return;
    char request[HEAD_BYTES];
    int length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bulk\r\nAccept: */*\r\n\r\n",
                          targets[next_target++ % target_count], authority);
    c->left = -1;
    c->asked = now();
    asked++;
    if (send(c->fd, request, length, MSG_NOSIGNAL) != length) fail("send");
}

/* Looks at the head without taking it; false while it is not whole. */
static int read_head(struct connection *c) {
    char head[HEAD_BYTES];
    ssize_t count = recv(c->fd, head, sizeof head - 1, MSG_PEEK);
    if (count < 0 && errno == EAGAIN) return 0;
    if (count <= 0) fail("the server ended a connection");
    head[count] = 0;
    char *end = strstr(head, "\r\n\r\n");
    if (!end) return 0;
    *end = 0;
    char *length = strcasestr(head, "\r\ncontent-length:");
    c->left = length ? atoll(length + strlen("\r\ncontent-length:")) : 0;
    errors += strncmp(head + strlen("HTTP/1.1 "), "200", 3) != 0;
    return recv(c->fd, NULL, end + 4 - head, MSG_TRUNC) >= 0;
}

/* True once the body has come to its end. */
static int drop_body(struct connection *c) {
    while (c->left > 0) {
        ssize_t count = recv(c->fd, NULL, c->left < (1 << 22) ? (size_t)c->left : 1 << 22, MSG_TRUNC);
        if (count < 0 && errno == EAGAIN) return 0;
        if (count <= 0) fail("a body was cut");
        c->left -= count;
    }
    return 1;
}

static void serve(struct connection *c) {
    if (c->left < 0 && !read_head(c)) return;
    if (!drop_body(c)) return;
    if (sample_count < MAX_SAMPLES) samples[sample_count++] = now() - c->asked;
    answers++;
    ask(c);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int count, char **argument) {
    if (count != 6) {
        fprintf(stderr, "usage: bulk HOST:PORT TARGETS CONNECTIONS SECONDS COUNT\n");
        return 2;
    }
    authority = argument[1];
    char host[64];
    int port, connections = atoi(argument[3]);
    if (sscanf(authority, "%63[^:]:%d", host, &port) != 2 || connections < 1 || connections > MAX_CONNECTIONS) fail("arguments");
    read_targets(argument[2]);
    limit = atoll(argument[5]);
    samples = malloc(MAX_SAMPLES * sizeof *samples);
    struct connection *all = calloc(connections, sizeof *all);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, host, &address.sin_addr);
    int poll = epoll_create1(0);
    for (int i = 0; i < connections; i++) {
        int on = 1, fd = all[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        fcntl(fd, F_SETFL, O_NONBLOCK);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
    }
    double start = now(), end = start + atof(argument[4]);
    for (int i = 0; i < connections; i++) ask(&all[i]);
    while (now() < end && !(limit && answers >= limit)) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(poll, events, EVENTS, 50);
        for (int i = 0; i < ready; i++) serve(events[i].data.ptr);
    }
    double seconds = now() - start;
    qsort(samples, sample_count, sizeof *samples, ascending);
    double p50 = sample_count ? samples[sample_count / 2] : 0, p99 = sample_count ? samples[sample_count * 99 / 100] : 0;
    printf("{\"answers\": %lld, \"errors\": %lld, \"seconds\": %f, \"p50_ms\": %f, \"p99_ms\": %f}\n",
           answers, errors, seconds, p50 * 1e3, p99 * 1e3);
    return 0;
}
