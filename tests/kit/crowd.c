// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * crowd - many MPTCP connections of mixed age, each of which notices when it loses something
 *
 * usage: crowd serve PORT			echoes whatever comes, for ever
 *        crowd call PERIOD-MS SILENCE-MS	the clients; obeys lines on standard input, until
 *its end:
 *
 *	open COUNT ADDRESS PORT		more connections
 *	close COUNT			the oldest end in good order
 *	check WORD			answered when each connection has had an echo of a line sent
 *later: "check WORD CONNECTIONS SECONDS SLOWEST-MS SUBFLOWS"
 *	sum				"sum open N ended N lost N"
 *
 * A connection sends the line "ID NUMBER" every PERIOD and wants it back, byte for byte and in
 * order. It is lost when it is reset or closed, gets anything else, is plain TCP, or when a line
 * has waited for its echo for SILENCE: then "lost ID ..." says so at once, and it is closed.
 * SLOWEST is the longest that any echo took since the last check, SUBFLOWS the most that any
 * connection has now.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/mptcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#define SOL_MPTCP_LEVEL 284

#define MOST	256 /* connections at a time */
#define PENDING 256 /* lines without an echo, of a connection */
#define LINE	64
#define NS_MS	1000000LL
#define NS_S	1000000000LL

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NS_S + ts.tv_nsec;
}

static int mptcp_socket(void)
{
	return socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_MPTCP);
}

/* The server: reads from a connection only when all that it said has been said back. */
struct guest {
	int fd;
	size_t kept, said;
	char bytes[4096];
};

/* false: the connection is at its end */
static bool echo(struct guest *guest)
{
	ssize_t n;

	if (guest->said == guest->kept) {
		n = read(guest->fd, guest->bytes, sizeof(guest->bytes));
		if (n <= 0)
			return n < 0 && errno == EAGAIN;
		guest->kept = (size_t)n;
		guest->said = 0;
	}
	n = write(guest->fd, guest->bytes + guest->said, guest->kept - guest->said);
	if (n < 0)
		return errno == EAGAIN;
	guest->said += (size_t)n;
	return true;
}

static int serve(uint16_t port)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
	static struct guest guests[MOST];
	struct pollfd polls[MOST + 1];
	int fd = mptcp_socket(), on = 1, count = 0;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0 || listen(fd, 128) < 0) {
		perror("crowd: port");
		return 1;
	}
	for (;;) {
		polls[0] = (struct pollfd){fd, count < MOST ? POLLIN : 0, 0};
		for (int i = 0; i < count; i++)
			polls[i + 1] = (struct pollfd){
				guests[i].fd, guests[i].said < guests[i].kept ? POLLOUT : POLLIN,
				0};
		poll(polls, (nfds_t)count + 1, -1);
		/* From the last one: the one that takes an ended one's place has been seen. */
		for (int i = count - 1; i >= 0; i--) {
			if (!polls[i + 1].revents || echo(&guests[i]))
				continue;
			close(guests[i].fd);
			guests[i] = guests[--count];
		}
		if (polls[0].revents & POLLIN) {
			int new = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

			if (new >= 0) {
				guests[count].fd = new;
				guests[count].kept = guests[count].said = 0;
				count++;
			}
		}
	}
}

/* The clients. */
struct connection {
	unsigned int id;
	int fd;
	bool connected, closing, said_all;
	char peer[INET_ADDRSTRLEN];
	int64_t opened_ns, next_ns;
	uint64_t sent, echoed; /* lines; number N is the Nth */
	uint64_t wanted;       /* the check is answered when this one is echoed */
	int64_t sent_ns[PENDING];
	size_t got; /* bytes of a line that is not whole yet */
	char line[LINE];
};

static struct connection *crowd[MOST]; /* the oldest first */
static int open_count;
static unsigned int last_id, ended_count, lost_count;
static int64_t period_ns, silence_ns, slowest_ns, check_ns;
static char check_word[32]; /* empty: no check is under way */

static void say(const char *form, ...)
{
	va_list args;

	va_start(args, form);
	vprintf(form, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

/* why NULL: it ended in good order */
static void drop(struct connection *c, const char *why)
{
	if (why) {
		say("lost %u, begun at %s %.1f s ago, %" PRIu64 " of %" PRIu64 " lines echoed: %s",
		    c->id, c->peer, (double)(now_ns() - c->opened_ns) / NS_S, c->echoed, c->sent,
		    why);
		lost_count++;
	} else {
		ended_count++;
	}
	for (int i = 0; i < open_count; i++) {
		if (crowd[i] != c)
			continue;
		memmove(&crowd[i], &crowd[i + 1],
			(size_t)(open_count - i - 1) * sizeof(struct connection *));
		open_count--;
		break;
	}
	close(c->fd);
	free(c);
}

static void open_one(const struct sockaddr_in *to)
{
	struct connection *c = calloc(1, sizeof(*c));

	if (!c || open_count == MOST) {
		say("lost: no room for another connection");
		lost_count++;
		free(c);
		return;
	}
	c->id = ++last_id;
	c->opened_ns = now_ns();
	/* so that they don't all talk at once */
	c->next_ns = c->opened_ns + period_ns * (c->id % 16) / 16;
	inet_ntop(AF_INET, &to->sin_addr, c->peer, sizeof(c->peer));
	crowd[open_count++] = c;
	c->fd = mptcp_socket();
	if (c->fd < 0 ||
	    (connect(c->fd, (const struct sockaddr *)to, sizeof(*to)) < 0 && errno != EINPROGRESS))
		drop(c, strerror(errno));
}

/* The number of subflows besides the first one; -1: plain TCP */
static int subflows(const struct connection *c)
{
	struct mptcp_info info = {0};
	socklen_t size = sizeof(info);

	if (getsockopt(c->fd, SOL_MPTCP_LEVEL, MPTCP_INFO, &info, &size) < 0 ||
	    (info.mptcpi_flags & MPTCP_INFO_FLAG_FALLBACK))
		return -1;
	return info.mptcpi_subflows;
}

static bool send_line(struct connection *c)
{
	char line[LINE];
	int n = snprintf(line, sizeof(line), "%u %" PRIu64 "\n", c->id, c->sent + 1);
	ssize_t done = write(c->fd, line, (size_t)n);

	if (done < 0 && errno == EAGAIN)
		return true; /* again at the next period */
	if (done != n)
		return false;
	c->sent_ns[c->sent++ % PENDING] = now_ns();
	return true;
}

static const char *take_line(struct connection *c)
{
	static char wrong[160];
	char want[LINE];
	int64_t took = now_ns() - c->sent_ns[c->echoed % PENDING];

	c->line[c->got] = '\0';
	snprintf(want, sizeof(want), "%u %" PRIu64, c->id, c->echoed + 1);
	if (c->echoed == c->sent || strcmp(c->line, want) != 0) {
		snprintf(wrong, sizeof(wrong), "found \"%s\", expected \"%s\"", c->line, want);
		return wrong;
	}
	c->echoed++;
	c->got = 0;
	if (took > slowest_ns)
		slowest_ns = took;
	return NULL;
}

/* What makes it lost, or NULL */
static const char *take(struct connection *c)
{
	char bytes[4096];
	ssize_t n = read(c->fd, bytes, sizeof(bytes));

	if (n < 0)
		return errno == EAGAIN ? NULL : strerror(errno);
	if (n == 0) {
		c->said_all = true;
		return c->closing && c->echoed == c->sent && !c->got ? NULL : "closed by the peer";
	}
	for (ssize_t i = 0; i < n; i++) {
		const char *wrong = NULL;

		if (bytes[i] == '\n')
			wrong = take_line(c);
		else if (c->got + 1 < sizeof(c->line))
			c->line[c->got++] = bytes[i];
		else
			wrong = "a line without an end";
		if (wrong)
			return wrong;
	}
	return NULL;
}

static const char *events(struct connection *c, int revents)
{
	int error = 0;
	socklen_t size = sizeof(error);

	if (!c->connected && (revents & (POLLOUT | POLLERR | POLLHUP))) {
		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
		if (error)
			return strerror(error);
		c->connected = true;
		return subflows(c) < 0 ? "it is plain TCP" : NULL;
	}
	return c->connected && (revents & (POLLIN | POLLERR | POLLHUP)) ? take(c) : NULL;
}

static const char *clockwork(struct connection *c, int64_t now)
{
	int64_t since = c->sent > c->echoed ? c->sent_ns[c->echoed % PENDING] : now;

	if (!c->connected)
		since = c->opened_ns;
	if (now - since > silence_ns)
		return c->connected ? "silence" : "no connection";
	if (c->connected && !c->closing && now >= c->next_ns && c->sent - c->echoed < PENDING) {
		if (!send_line(c))
			return strerror(errno);
		c->next_ns += period_ns;
		if (c->next_ns < now)
			c->next_ns = now + period_ns;
	}
	return NULL;
}

static void answer_check(int64_t now)
{
	int most = 0;

	if (!check_word[0])
		return;
	for (int i = 0; i < open_count; i++) {
		int n = subflows(crowd[i]);

		if (!crowd[i]->closing && crowd[i]->echoed < crowd[i]->wanted)
			return;
		most = n > most ? n : most;
	}
	say("check %s %d %.3f %" PRId64 " %d", check_word, open_count,
	    (double)(now - check_ns) / NS_S, slowest_ns / NS_MS, most + 1);
	check_word[0] = '\0';
	slowest_ns = 0;
}

static void begin_check(const char *word)
{
	snprintf(check_word, sizeof(check_word), "%s", word);
	check_ns = now_ns();
	for (int i = 0; i < open_count; i++)
		crowd[i]->wanted = crowd[i]->sent + 1;
}

static void close_oldest(int count)
{
	for (int i = 0; i < open_count && count > 0; i++) {
		if (crowd[i]->closing || !crowd[i]->connected)
			continue;
		crowd[i]->closing = true;
		shutdown(crowd[i]->fd, SHUT_WR);
		count--;
	}
}

static void obey(const char *line)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	char word[32];
	unsigned int count, port;

	if (sscanf(line, "open %u %31s %u", &count, word, &port) == 3 && port < 65536 &&
	    inet_pton(AF_INET, word, &to.sin_addr) == 1) {
		to.sin_port = htons((uint16_t)port);
		while (count-- > 0)
			open_one(&to);
	} else if (sscanf(line, "close %u", &count) == 1) {
		close_oldest((int)count);
	} else if (sscanf(line, "check %31s", word) == 1) {
		begin_check(word);
	} else if (strcmp(line, "sum") == 0) {
		say("sum open %d ended %u lost %u", open_count, ended_count, lost_count);
	} else {
		say("found \"%s\", expected open, close, check or sum", line);
	}
}

/* false: standard input is at its end */
static bool take_orders(void)
{
	static char line[256];
	static size_t got;
	char byte;
	ssize_t n;

	while ((n = read(STDIN_FILENO, &byte, 1)) == 1) {
		if (byte != '\n' && got + 1 < sizeof(line)) {
			line[got++] = byte;
			continue;
		}
		line[got] = '\0';
		got = 0;
		obey(line);
	}
	return n < 0 && errno == EAGAIN;
}

static void look_after(struct connection *c, int revents)
{
	const char *why = events(c, revents);

	if (!why && !c->said_all)
		why = clockwork(c, now_ns());
	if (why || c->said_all)
		drop(c, why);
}

static int call(void)
{
	struct pollfd polls[MOST + 1];

	fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
	for (;;) {
		int count = open_count;

		polls[0] = (struct pollfd){STDIN_FILENO, POLLIN, 0};
		for (int i = 0; i < count; i++)
			polls[i + 1] = (struct pollfd){crowd[i]->fd,
						       crowd[i]->connected ? POLLIN : POLLOUT, 0};
		poll(polls, (nfds_t)count + 1, 20);
		for (int i = count - 1; i >= 0; i--)
			look_after(crowd[i], polls[i + 1].revents);
		answer_check(now_ns());
		if (polls[0].revents && !take_orders())
			return lost_count > 0;
	}
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && strcmp(argv[1], "serve") == 0 && atoi(argv[2]) > 0)
		return serve((uint16_t)atoi(argv[2]));
	if (argc == 4 && strcmp(argv[1], "call") == 0) {
		period_ns = atoi(argv[2]) * NS_MS;
		silence_ns = atoi(argv[3]) * NS_MS;
		if (period_ns > 0 && silence_ns > 0)
			return call();
	}
	fprintf(stderr, "usage: crowd serve PORT | crowd call PERIOD-MS SILENCE-MS\n");
	return 2;
}
